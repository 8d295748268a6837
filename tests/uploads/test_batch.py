import asyncio
import csv
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.uploads.workplace import Workplace, eventually, workplace
from uploads import checkpoint
from uploads.batch import KIND, BatchArguments, BatchHandler, BatchOptions, Given, RowFailed
from uploads.errors import ModelUnavailable, UnknownUpload
from uploads.jobs import Job
from uploads.records import Upload
from uploads.rows import Outcome
from uploads.worker import JobInterrupted

IN_FLIGHT = 4


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Workplace]:
    async with workplace(f"sqlite:///{tmp_path / 'headwater.db'}", tmp_path) as opened:
        yield opened


@dataclass
class OneUpload:
    """The part of `uploads.uploads.Uploads` that a batch needs, over a plain file."""

    path: Path

    async def find(self, upload_id: str, owner: str) -> Upload:
        if not self.path.exists():
            raise UnknownUpload("There is no upload of this id.")
        return Upload(upload_id, owner, self.path.name, 0, "", "text/plain", 0.0, "")

    @asynccontextmanager
    async def local_path(self, upload: Upload) -> AsyncIterator[Path]:
        yield self.path


@dataclass
class Predictor:
    """Shouts. Counts what it was asked and how much at once; fails where the text says so."""

    asked: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, owner: str, given: Given, options: BatchOptions) -> Outcome:
        text = given if isinstance(given, str) else str(dict(given))
        self.asked.append(text)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if text.startswith("wait"):
                await self.gate.wait()
            await asyncio.sleep(0)
            if text == "refuse":
                raise RowFailed("prompt_too_long", "Too long.")
            if text == "down":
                raise ModelUnavailable("The model is down.")
            if text == "leave" and not self.gate.is_set():
                raise JobInterrupted
            return Outcome(text.upper(), 0.5)
        finally:
            self.running -= 1


def handler(place: Workplace, path: Path, predict: Predictor) -> BatchHandler:
    uploads: Any = OneUpload(path)
    return BatchHandler(uploads, predict, place.folder / "work", IN_FLIGHT)


async def add(place: Workplace, **changed: Any) -> Job:
    arguments = BatchArguments("u1", "lines", None, "csv", BatchOptions())
    return await place.add(KIND, **{**arguments.as_json(), **changed})


def file_of(place: Workplace, lines: list[str]) -> Path:
    path = place.folder / "rows.txt"
    path.write_text("".join(line + "\n" for line in lines))
    return path


async def predictions(place: Workplace, job: Job) -> list[dict[str, str]]:
    return list(csv.DictReader((await place.content(job)).decode().splitlines()))


async def test_every_row_gets_its_prediction_in_order(place: Workplace) -> None:
    lines = [f"row {number}" for number in range(600)]
    predict = Predictor()
    async with place.working({KIND: handler(place, file_of(place, lines), predict)}):
        ended = await place.ended(await add(place))
    assert ended.state == "succeeded"
    found = await predictions(place, ended)
    assert [row["text"] for row in found] == lines
    assert [row["prediction"] for row in found] == [line.upper() for line in lines]
    assert ended.done == 600
    assert ended.result is not None
    assert ended.result.filename == "rows.predictions.csv"
    assert predict.most == IN_FLIGHT


async def test_order_is_kept_when_a_row_takes_longer_than_those_behind_it(place: Workplace) -> None:
    predict = Predictor()
    async with place.working({KIND: handler(place, file_of(place, ["wait", "a", "b", "c", "d"]), predict)}):
        job = await add(place)

        async def others_are_done() -> bool:
            return predict.asked == ["wait", "a", "b", "c"] and predict.running == 1

        await eventually(others_are_done)
        predict.gate.set()
        found = await predictions(place, await place.ended(job))
    assert [row["prediction"] for row in found] == ["WAIT", "A", "B", "C", "D"]


async def test_a_row_that_fails_says_why_and_the_others_go_on(place: Workplace) -> None:
    async with place.working({KIND: handler(place, file_of(place, ["a", "refuse", "", "b"]), Predictor())}):
        ended = await place.ended(await add(place))
    found = await predictions(place, ended)
    assert [row["prediction"] for row in found] == ["A", "", "", "B"]
    assert [row["error"] for row in found] == ["", "prompt_too_long: Too long.", "The text is empty.", ""]


async def test_a_model_may_read_all_columns(place: Workplace) -> None:
    predictor = Predictor()
    path = file_of(place, ["area,rooms", "1,2", "3"])
    async with place.working({KIND: handler(place, path, predictor)}):
        ended = await place.ended(await add(place, format="csv", reads="columns"))
    assert predictor.asked == ["{'area': '1', 'rooms': '2'}"]
    first, second = await predictions(place, ended)
    assert (first["area"], first["rooms"], first["error"]) == ("1", "2", "")
    assert second["error"] == "The row has 1 fields, the header 2."


async def test_the_options_and_the_owner_reach_the_model(place: Workplace) -> None:
    seen = []

    class Noting(Predictor):
        async def __call__(self, owner: str, given: Given, options: BatchOptions) -> Outcome:
            seen.append((owner, options))
            return Outcome("x")

    options = BatchOptions("other", 7, 0.5, 3)
    async with place.working({KIND: handler(place, file_of(place, ["a"]), Noting())}):
        arguments = BatchArguments("u1", "lines", None, "jsonl", options).as_json()
        ended = await place.ended(await place.add(KIND, **arguments))
    assert seen == [("ann", options)]
    assert json.loads(await place.content(ended))["prediction"] == "x"


async def test_a_model_that_is_down_fails_the_job_after_its_attempts(place: Workplace) -> None:
    async with place.working({KIND: handler(place, file_of(place, ["a", "down"]), Predictor())}):
        ended = await place.ended(await add(place))
    assert ended.error is not None
    assert (ended.state, ended.attempts, ended.error.code) == ("failed", 3, "model_unavailable")


async def test_a_file_that_was_deleted_fails_the_job(place: Workplace) -> None:
    async with place.working({KIND: handler(place, place.folder / "gone", Predictor())}):
        ended = await place.ended(await add(place))
    assert ended.error is not None
    assert ended.error.code == "unknown_upload"


async def test_an_interrupted_job_goes_on_where_it_stopped(place: Workplace) -> None:
    lines = [f"row {number}" for number in range(50)] + ["leave"] + [f"row {number}" for number in range(51, 60)]
    predict = Predictor()
    path = file_of(place, lines)
    async with place.working({KIND: handler(place, path, predict)}):
        job = await add(place)

        async def has_left() -> bool:
            return predict.asked.count("leave") >= 2

        await eventually(has_left)
        first_rows = predict.asked.count("row 0")
        predict.gate.set()
        ended = await place.ended(job)
    assert [row["prediction"] for row in await predictions(place, ended)] == [line.upper() for line in lines]
    assert (first_rows, predict.asked.count("row 10"), ended.attempts) == (1, 1, 1)


@pytest.mark.parametrize("torn", [b'["B", 0.5', b'["B", 0.5, null]', b"\0\0\0\0\0\0\n", b'{"a": 1}\n["C", 1, null]\n'])
async def test_a_torn_end_of_what_was_done_is_done_again(place: Workplace, torn: bytes) -> None:
    predict = Predictor()
    job = await add(place)
    (place.folder / "work" / f"{job.id}.rows").write_bytes(b'["kept", 0.5, null]\n' + torn)
    async with place.working({KIND: handler(place, file_of(place, ["a", "b", "c"]), predict)}):
        ended = await place.ended(job)
    assert [row["prediction"] for row in await predictions(place, ended)] == ["kept", "B", "C"]
    assert predict.asked == ["b", "c"]


async def test_a_late_attempt_and_a_new_one_never_write_together(place: Workplace) -> None:
    path = place.folder / "work" / "j0.rows"
    async with checkpoint.held(path) as first:
        with pytest.raises(Exception, match="not stopped yet"):
            async with checkpoint.held(path):
                pass
        await first.append([Outcome("a")])
    async with checkpoint.held(path) as second:
        assert list(second.outcomes()) == [Outcome("a")]


async def test_a_cancelled_job_stops_asking_the_model(place: Workplace) -> None:
    predict = Predictor()
    async with place.working({KIND: handler(place, file_of(place, ["wait"] * 100), predict)}):
        job = await add(place)

        async def has_begun() -> bool:
            return predict.running == IN_FLIGHT

        async def has_stopped() -> bool:
            return predict.running == 0

        await eventually(has_begun)
        await place.store.cancel(job.id, job.owner)
        await eventually(has_stopped)
    assert len(predict.asked) == IN_FLIGHT


async def test_what_ended_and_unknown_jobs_left_is_swept_and_the_rest_stays(place: Workplace) -> None:
    waiting, ended = await add(place), await add(place)
    await place.store.cancel(ended.id, ended.owner)
    work = place.folder / "work"
    for name in (f"{waiting.id}.rows", f"{ended.id}.rows", f"{ended.id}.result", "j" + "0" * 32 + ".rows", "other"):
        (work / name).write_text("x")
    await checkpoint.sweep(work, place.store)
    assert [path.name for path in work.iterdir()] == [f"{waiting.id}.rows"]
