"""One pull at a time for each model, also across processes: a lock file that dies with whoever holds it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def lock(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds the lock; calls `on_wait` once when somebody else has it first.

    Child processes inherit the lock, so what a killed pull leaves running still counts as a pull.
    """
    descriptor = try_lock(path)
    if descriptor is None:
        on_wait()
        while descriptor is None:
            descriptor = _open_locked(path, fcntl.LOCK_EX)
    try:
        os.set_inheritable(descriptor, True)
        yield
    finally:
        unlock(path, descriptor)


def try_lock(path: Path) -> int | None:
    """The open, locked file, or None when somebody else holds it."""
    try:
        while (descriptor := _open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)) is None:
            pass
    except BlockingIOError:
        return None
    return descriptor


def unlock(path: Path, descriptor: int) -> None:
    """Removes the file while the lock is still held: whoever waits for it notices and makes a new one."""
    path.unlink(missing_ok=True)
    os.close(descriptor)


def _open_locked(path: Path, operation: int) -> int | None:
    """None when the file was removed between opening and locking: its lock then means nothing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        if _is_at(path, descriptor):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
