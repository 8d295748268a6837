"""What a batch job has done so far, one line a row, so that the next attempt on this machine goes on from there.

The lines are not awaited on the disk one by one: a torn or lost end is cut off, and those rows are predicted again.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple
from pathlib import Path
from typing import BinaryIO

from uploads.errors import StoreUnavailable
from uploads.files import open_locked, translated
from uploads.jobs import JobStore, is_job_id
from uploads.rows import Outcome

SYNC_INTERVAL_S = 5.0


class Checkpoint:
    """Held by one attempt. Made by `held`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._synced_at = time.monotonic()
        self.count = sum(1 for _ in whole_lines(file))

    async def append(self, outcomes: Sequence[Outcome]) -> None:
        with translated():
            await asyncio.to_thread(self._append, outcomes)
        self.count += len(outcomes)

    def outcomes(self) -> Iterator[Outcome]:
        """Blocks."""
        self._file.seek(0)
        for line in self._file:
            yield Outcome(*json.loads(line))

    def _append(self, outcomes: Sequence[Outcome]) -> None:
        self._file.write(b"".join(json.dumps(astuple(outcome)).encode() + b"\n" for outcome in outcomes))
        self._file.flush()
        if time.monotonic() - self._synced_at > SYNC_INTERVAL_S:
            os.fsync(self._file.fileno())
            self._synced_at = time.monotonic()


def whole_lines(file: BinaryIO) -> Iterator[bytes]:
    """Leaves the file cut off after the last whole line, and standing there."""
    end = 0
    file.seek(0)
    for line in file:
        if not line.endswith(b"\n") or not is_outcome(line):
            break
        end += len(line)
        yield line
    file.truncate(end)
    file.seek(end)


def is_outcome(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), list)
    except ValueError:
        return False


@asynccontextmanager
async def held(path: Path) -> AsyncIterator[Checkpoint]:
    """Raises `StoreUnavailable` while another attempt, which has lost its lease and does not know yet, holds it."""
    file = await asyncio.to_thread(open_file, path)
    try:
        with translated():
            yield await asyncio.to_thread(Checkpoint, file)
    finally:
        await asyncio.to_thread(file.close)


def open_file(path: Path) -> BinaryIO:
    try:
        return os.fdopen(open_locked(path, os.O_RDWR | os.O_CREAT), "r+b")
    except BlockingIOError as error:
        raise StoreUnavailable("An earlier attempt at this job has not stopped yet.") from error


async def sweep(folder: Path, store: JobStore) -> None:
    """Removes what ended and unknown jobs have left in the folder."""
    names = await asyncio.to_thread(os.listdir, folder)
    owners = {name: name.partition(".")[0] for name in names}
    found = await store.look_up([job_id for job_id in set(owners.values()) if is_job_id(job_id)])
    open_jobs = {job.id for job in found if not job.has_ended}
    for name in [name for name, job_id in owners.items() if job_id not in open_jobs]:
        await asyncio.to_thread(remove, folder / name)


def remove(path: Path) -> None:
    """Unless somebody holds it: the next sweep comes back."""
    try:
        descriptor = open_locked(path, os.O_RDONLY)
    except OSError:
        return
    try:
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
