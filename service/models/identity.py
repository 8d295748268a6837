"""Which prepared copy belongs to which entry: a digest over everything that decides its content."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from service.models.config import ModelEntry
from service.models.reference import Reference

PREPARED_FORMAT = 1  # a new number makes every model be prepared again
VERSION_DIGITS = 12


def version_of(entry: ModelEntry) -> str | None:
    """The version, as far as it can be known without the network: None for `hf:` at a branch, or a missing file."""
    if entry.sha256:
        return _digest(entry, [entry.sha256])
    if entry.digests:
        return _digest(entry, _declared(entry))
    pins = [_pin(reference) for reference in entry.references]
    if None in pins:
        return None
    return _digest(entry, [entry.file, *pins])


def request_of(entry: ModelEntry) -> str:
    """A digest of the question alone: finds the copy that answered it last when `version_of` cannot."""
    references = [str(reference) for reference in entry.references]
    return _digest(entry, [entry.file, entry.sha256, *_declared(entry), *references])


def _declared(entry: ModelEntry) -> list[str | None]:
    return [f"{sha256} {name}" for name, sha256 in sorted(entry.digests.items())]


def version_without_files(entry: ModelEntry) -> str:
    """Of a model that is nothing but what its entry says."""
    text = json.dumps([entry.kind, entry.said], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]


def _digest(entry: ModelEntry, parts: list[str | None]) -> str:
    text = json.dumps([PREPARED_FORMAT, entry.layout, *parts])
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]


def _pin(reference: Reference) -> str | None:
    if reference.scheme == "file":
        marks = sorted(_marks(reference.path))
        return json.dumps([reference.name, *marks]) if marks else None
    return str(reference) if reference.is_fixed else None


def _marks(path: Path) -> Iterator[str]:
    """Size and time of change of a file, or of every file in a folder: an edited model is another model."""
    files = [path] if path.is_file() else path.iterdir() if path.is_dir() else []
    for file in files:
        if file.is_file():
            status = file.stat()
            yield f"{file.name} {status.st_size} {status.st_mtime_ns}"
