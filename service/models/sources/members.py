"""Takes the wanted members out of an archive. Names inside an archive are claims: they never choose a path freely."""

from pathlib import Path, PurePosixPath
from typing import IO

from service.models.errors import Mismatch, UnsafeArchive
from service.models.sources import Wanted

CHUNK_BYTES = 1 << 20


def target_of(member: str, wanted: Wanted, destination: Path) -> Path | None:
    """Where this member goes: `destination` itself, a path below it for a wanted folder, or None for nowhere."""
    if wanted.file is None or not wanted.file.endswith("/"):
        return destination if member == wanted.file else None
    if not member.startswith(wanted.file) or member == wanted.file:
        return None
    below = member.removeprefix(wanted.file)
    path = PurePosixPath(below)
    if path.is_absolute() or "\\" in below or "\0" in below or {"..", "."} & set(below.split("/")):
        raise UnsafeArchive(f"the archive names a path outside its own folder: {member!r}")
    return destination / path


def write_member(stream: IO[bytes], target: Path, wanted: Wanted) -> int:
    """Copies a member to a new file and returns its size; never follows a link, never overwrites."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    try:
        with target.open("xb") as file:
            while chunk := stream.read(CHUNK_BYTES):
                written += len(chunk)
                if wanted.max_bytes is not None and written > wanted.max_bytes:
                    raise Mismatch(f"{wanted.file} is larger than the {wanted.max_bytes:,} bytes that were declared")
                file.write(chunk)
    except FileExistsError:
        raise UnsafeArchive(f"the archive holds {wanted.file} twice") from None
    return written
