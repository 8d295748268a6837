"""Batch jobs: a prediction for every row of a file, many rows in flight, in order, from where the last attempt stopped.

Who predicts is given; this knows no model. A row that cannot be predicted is an outcome with an error.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from uploads.checkpoint import Checkpoint, held
from uploads.jobs import Job
from uploads.results import Produced
from uploads.rows import MEDIA_TYPES, Outcome, ResultFormat, Row, RowInput, Table, TableFormat, opened, write_results
from uploads.uploads import Uploads
from uploads.worker import Report

KIND = "batch"
READ_ROWS = 256  # read at once, in a thread


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """None means: the model's default."""

    model: str = "default"
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class BatchArguments:
    """What stands in a job's row."""

    upload_id: str
    format: TableFormat
    text_column: str | None
    result_format: ResultFormat
    options: BatchOptions
    reads: RowInput = "text"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class RowFailed(Exception):
    """This row has no prediction. `code` and `message` stand in its place."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


Given: TypeAlias = str | Mapping[str, Any]
"""A row as its model takes it: its text, or its columns by their names."""
PredictRow: TypeAlias = Callable[[str, Given, BatchOptions], Awaitable[Outcome]]
"""Of an owner's row. Raises `RowFailed`, or for the whole job `JobInterrupted` and `UploadsError`."""


class BatchHandler:
    """A `uploads.worker.Handler`. `folder` keeps unfinished work; it is on the file system of the results."""

    def __init__(self, uploads: Uploads, predict: PredictRow, folder: Path, rows_in_flight: int) -> None:
        self._uploads = uploads
        self._predict = predict
        self._folder = folder
        self._rows_in_flight = rows_in_flight

    async def __call__(self, job: Job, report: Report) -> Produced:
        arguments = arguments_of(job)
        upload = await self._uploads.find(arguments.upload_id, job.owner)
        target = self._folder / f"{job.id}.result"
        async with self._uploads.local_path(upload) as path, held(self._folder / f"{job.id}.rows") as checkpoint:
            table = Table(path, arguments.format, arguments.text_column, arguments.reads)
            await self._predict_rest(job, arguments.options, table, checkpoint, report)
            await asyncio.to_thread(write_results, table, checkpoint.outcomes(), target, arguments.result_format)
        name = f"{Path(upload.filename).stem}.predictions.{arguments.result_format}"
        return Produced(target, name, MEDIA_TYPES[arguments.result_format])

    async def _predict_rest(
        self, job: Job, options: BatchOptions, table: Table, checkpoint: Checkpoint, report: Report
    ) -> None:
        pending: deque[asyncio.Task[Outcome]] = deque()
        report(checkpoint.count, job.total)
        with ExitStack() as stack:
            _, rows = await asyncio.to_thread(stack.enter_context, opened(table))
            await asyncio.to_thread(skip, rows, checkpoint.count)
            try:
                while chunk := await asyncio.to_thread(take, rows, READ_ROWS):
                    for row in chunk:
                        if len(pending) >= self._rows_in_flight:
                            await self._write_first(pending, checkpoint)
                            report(checkpoint.count, job.total)
                        pending.append(asyncio.create_task(self._outcome(job.owner, row, table.reads, options)))
                while pending:
                    await self._write_first(pending, checkpoint)
                    report(checkpoint.count, job.total)
            finally:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)

    async def _write_first(self, pending: deque[asyncio.Task[Outcome]], checkpoint: Checkpoint) -> None:
        """Waits for the first row in flight, and takes along what is done behind it."""
        outcomes = [await pending[0]]
        pending.popleft()
        while pending and pending[0].done():
            outcomes.append(await pending.popleft())
        await checkpoint.append(outcomes)

    async def _outcome(self, owner: str, row: Row, reads: RowInput, options: BatchOptions) -> Outcome:
        if row.error is not None:
            return Outcome(None, error=row.error)
        try:
            return await self._predict(owner, row.text if reads == "text" else row.values, options)
        except RowFailed as error:
            return Outcome(None, error=f"{error.code}: {error.message}")


def arguments_of(job: Job) -> BatchArguments:
    given = dict(job.arguments)
    return BatchArguments(**{**given, "options": BatchOptions(**given["options"])})


def skip(rows: Iterator[Row], count: int) -> None:
    next(islice(rows, count, count), None)


def take(rows: Iterator[Row], count: int) -> list[Row]:
    return list(islice(rows, count))
