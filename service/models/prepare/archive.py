"""A folder of a model that comes as one archive, .zip or .tar: only the files of a model are taken out."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from service.models.errors import UnsafeArchive, UnsupportedModel
from service.models.layout import ModelKind, model_files
from service.models.sources import Wanted
from service.models.sources.members import write_member

FILE_TYPE_BITS = 0o170000
LINK = 0o120000


def is_archive(path: Path, kind: ModelKind) -> bool:
    """A skops file is a zip by itself."""
    return tarfile.is_tarfile(path) or (kind != "tabular" and zipfile.is_zipfile(path))


def unpack(archive: Path, destination: Path, kind: ModelKind) -> Path:
    """The new folder with the model's files. Raises `UnsafeArchive` and `UnsupportedModel`."""
    destination.mkdir()
    try:
        for name, stream in chosen(archive, kind):
            write_member(stream, destination / name, Wanted(name))
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UnsupportedModel(f"{archive.name} is damaged: {error}") from error
    return destination


def chosen(archive: Path, kind: ModelKind) -> Iterator[tuple[str, IO[bytes]]]:
    members = zip_members(archive) if zipfile.is_zipfile(archive) else tar_members(archive)
    with members as found:
        top = common_folder([member.name for member in found])
        files = set(model_files([member.name.removeprefix(top) for member in found], kind))
        for member in found:
            name = member.name.removeprefix(top)
            if name not in files:
                continue
            if not member.is_plain or ".." in PurePosixPath(name).parts:
                raise UnsafeArchive(f"{archive.name}: {member.name!r} is no plain file with a plain name")
            with member.open() as stream:
                yield name, stream


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    is_plain: bool
    open: Callable[[], IO[bytes]]


@contextmanager
def zip_members(archive: Path) -> Iterator[list[Member]]:
    with zipfile.ZipFile(archive) as opened:
        yield [
            Member(one.filename, (one.external_attr >> 16) & FILE_TYPE_BITS != LINK, partial(opened.open, one))
            for one in opened.infolist()
            if not one.is_dir()
        ]


@contextmanager
def tar_members(archive: Path) -> Iterator[list[Member]]:
    with tarfile.open(archive) as opened:
        yield [Member(one.name, one.isreg(), partial(extracted, opened, one)) for one in opened if not one.isdir()]


def extracted(opened: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = opened.extractfile(member)
    if stream is None:
        raise UnsafeArchive(f"{member.name!r} is no plain file")
    return stream


def common_folder(names: list[str]) -> str:
    """Most archives hold one folder with everything in it."""
    tops = {name.partition("/")[0] for name in names}
    top = f"{tops.pop()}/" if len(tops) == 1 else ""
    return top if all(name.startswith(top) for name in names) else ""
