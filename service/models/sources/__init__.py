"""Where model files come from. A new scheme is a module here, a pattern in `reference.py`, a case in `open_source`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from service.models.layout import ModelKind
from service.models.progress import Progress
from service.models.reference import Reference


@dataclass(frozen=True, slots=True)
class Wanted:
    """`file` is a member of the package or repository, a folder of it when it ends with `/`, None for everything.

    `max_bytes` is the declared size where there is one: no source writes more than that. `kind` says which files of a
    repository are fetched.
    """

    file: str | None = None
    max_bytes: int | None = None
    kind: ModelKind = "language"


class Source(Protocol):
    def pin(self) -> Reference:
        """The same source with its version fixed; asks the network only when it is not fixed yet."""

    def fetch(self, wanted: Wanted, destination: Path, progress: Progress) -> Path:
        """Puts one file or one folder at `destination`, which does not exist yet, or returns where it already lies.

        What is returned is complete: what the place itself declares about it (size, checksum) has been checked.
        The caller removes `destination` after a failure. Raises `FetchFailed`.
        """


def open_source(reference: Reference) -> Source:
    """Imports only what this one source needs: http clients and the hub's library are slow to import."""
    match reference.scheme:
        case "file":
            from service.models.sources.local import LocalSource  # noqa: PLC0415  # slow

            return LocalSource(reference)
        case "pypi":
            from service.models.sources.pypi import PypiSource  # noqa: PLC0415  # slow

            return PypiSource(reference)
        case "npm":
            from service.models.sources.npm import NpmSource  # noqa: PLC0415  # slow

            return NpmSource(reference)
        case "s3":
            from service.models.sources.bucket import BucketSource  # noqa: PLC0415  # slow

            return BucketSource(reference)
        case "hf":
            from service.models.sources.hub import HubSource  # noqa: PLC0415  # slow

            return HubSource(reference)
