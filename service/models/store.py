"""The folder of prepared models. Finding one is a few `stat` calls; pulling one is atomic and safe beside others."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from service.models.config import ModelEntry
from service.models.errors import NotAtSource, PrepareFailed
from service.models.identity import PREPARED_FORMAT, request_of, version_of
from service.models.lock import lock, try_lock, unlock
from service.models.progress import Progress, SilentProgress
from service.models.reference import Reference

MANIFEST = "headwater.json"
WORK = ".work"  # temporary folders and locks, beside the prepared models: a rename stays on one file system


@dataclass(frozen=True, slots=True)
class Manifest:
    """`headwater.json`. `sha256` is that of the source's file, None where the source is a folder."""

    format: int
    name: str
    version: str
    kind: str
    source: str
    request: str
    sha256: str | None
    quantization: str | None
    dtype: str | None
    created: str
    size_bytes: int
    files: dict[str, int]


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """`name` is the entry's: two entries with the same content share one folder."""

    name: str
    path: Path
    version: str
    manifest: Manifest


class ModelStore:
    """Any number of processes may use one folder. Imports no model library until something is pulled."""

    def __init__(self, models_dir: Path) -> None:
        self.models_dir = models_dir

    def prepared(self, entry: ModelEntry) -> PreparedModel | None:
        """The copy that is ready to load, or None. Never touches the network."""
        version = version_of(entry)
        if version is not None:
            return self._find(entry.name, version)
        request = request_of(entry)
        known = [model for model in self.list() if model.manifest.request == request]
        newest = max(known, key=lambda model: model.manifest.created, default=None)
        return newest and PreparedModel(entry.name, newest.path, newest.version, newest.manifest)

    def versions(self, entry: ModelEntry) -> "list[PreparedModel]":
        """The prepared copies that were made for an entry of this name, and the one it has now; the newest last."""
        kinds = (entry.kind, entry.layout)
        found = [one for one in self.list() if one.name == entry.name and one.manifest.kind in kinds]
        now = self.prepared(entry)
        if now is not None and now.version not in {one.version for one in found}:
            found.append(now)
        return sorted(found, key=lambda one: one.manifest.created)

    def newest_version(self, entry: ModelEntry) -> str:
        """What `pull` would give; asks the source where the entry alone does not say. Raises `ModelsError`."""
        return _fixed(entry)[1]

    def list(self) -> list[PreparedModel]:
        """Every prepared model in the folder, by name, the newest last."""
        found = (self._read(path.parent) for path in self.models_dir.glob(f"*/{MANIFEST}"))
        return sorted((model for model in found if model), key=lambda model: (model.name, model.manifest.created))

    def pull(self, entry: ModelEntry, progress: Progress | None = None) -> PreparedModel:
        """The prepared copy; fetches and prepares it when there is none. Raises `ModelsError`."""
        shown = progress or SilentProgress()
        fixed, version = _fixed(entry)
        work_root = self.models_dir / WORK
        work_root.mkdir(parents=True, exist_ok=True)
        if found := self._find(entry.name, version):
            _sweep(work_root)
            return found
        with lock(
            work_root / f"{version}.lock", lambda: shown.say(f"another pull of {entry.name} runs; waiting for it")
        ):
            _sweep(work_root)
            return self._find(entry.name, version) or self._make(entry, fixed, version, shown)

    def _make(self, entry: ModelEntry, fixed: Sequence[Reference], version: str, progress: Progress) -> PreparedModel:
        # Only here: at the start of the service nothing is fetched, and every import counts.
        from service.models.fetch import fetch  # noqa: PLC0415
        from service.models.prepare import prepare  # noqa: PLC0415

        with _work_folder(self.models_dir / WORK / version, entry.sha256) as work:
            fetched = fetch(entry, fixed, work, progress)
            may_link = all(reference.scheme != "file" for reference in fixed)
            facts = prepare(
                fetched.path,
                work / "prepared",
                progress,
                entry.layout,
                allow_pickle=entry.allow_pickle,
                may_link=may_link,
            )
            sizes = _sizes(work / "prepared")
            manifest = Manifest(
                format=PREPARED_FORMAT,
                name=entry.name,
                version=version,
                kind=entry.kind,
                source=" + ".join(str(reference) for reference in fixed),
                request=request_of(entry),
                sha256=fetched.sha256,
                quantization=facts.quantization,
                dtype=facts.dtype,
                created=datetime.now(UTC).isoformat(timespec="milliseconds"),
                size_bytes=sum(sizes.values()),
                files=sizes,
            )
            self._commit(work, manifest)
        if found := self._find(entry.name, version):
            return found
        raise PrepareFailed(f"{entry.name}: the prepared copy in {self.models_dir} is not what was written")

    def _commit(self, work: Path, manifest: Manifest) -> None:
        """Everything reaches the disk under its temporary name; one rename makes it visible."""
        prepared, final = work / "prepared", self.models_dir / f"{manifest.name}-{manifest.version}"
        (prepared / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + "\n", "utf-8")
        for path in (*prepared.glob("**/*"), prepared):
            _sync(path)
        if final.exists():  # damaged, or it would have been found
            final.rename(work / "damaged")
        prepared.rename(final)
        _sync(self.models_dir)

    def _find(self, name: str, version: str) -> PreparedModel | None:
        own = self.models_dir / f"{name}-{version}"
        for folder in (own, *self.models_dir.glob(f"*-{version}")):
            if (model := self._read(folder)) and model.version == version:
                return PreparedModel(name, model.path, version, model.manifest)
        return None

    def _read(self, folder: Path) -> PreparedModel | None:
        """None for a folder that another format wrote, or that lost a file since."""
        try:
            content = json.loads((folder / MANIFEST).read_text("utf-8"))
            manifest = Manifest(**{field.name: content[field.name] for field in fields(Manifest)})
            whole = all((folder / name).stat().st_size == size for name, size in manifest.files.items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if manifest.format != PREPARED_FORMAT or not whole:
            return None
        return PreparedModel(manifest.name, folder, manifest.version, manifest)


def _fixed(entry: ModelEntry) -> tuple[tuple[Reference, ...], str]:
    """The references with their versions resolved, and the model's version."""
    from service.models.sources import open_source  # noqa: PLC0415  # hubs and registries are asked only here

    version = version_of(entry)
    if version is not None:
        return entry.references, version
    fixed = tuple(open_source(reference).pin() for reference in entry.references)
    version = version_of(entry.model_copy(update={"references": fixed}))
    if version is None:
        raise NotAtSource(f"{entry.name}: {fixed[0]}: no such file or folder")
    return fixed, version


@contextmanager
def _work_folder(work: Path, sha256: str | None) -> Iterator[Path]:
    """A clean folder of one pull, removed at its end. A kill leaves it; then a checked download in it is kept."""
    work.mkdir(exist_ok=True)
    for left in work.iterdir():
        if left.name != sha256:
            _remove(left)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _sweep(work_root: Path) -> None:
    """Removes what killed pulls left. Whoever still works holds the lock of its folder."""
    for version in {path.name.removesuffix(".lock") for path in work_root.iterdir()}:
        path = work_root / f"{version}.lock"
        if (descriptor := try_lock(path)) is not None:
            shutil.rmtree(work_root / version, ignore_errors=True)
            unlock(path, descriptor)


def _sizes(folder: Path) -> dict[str, int]:
    files = sorted(file for file in folder.glob("**/*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
