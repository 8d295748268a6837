"""docs/wire.md says what the code does: its tables are compared with routes, schemas, events and errors."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from service.app import create_app
from service.errors import BORDER_CODES, CODES, STATUSES
from service.settings import Settings
from service.settings_load import setting_paths
from streaming import encode
from streaming.events import Citation, Delta, Event, Failed, Finished, Progress, Queued, Started, Timings, Usage
from streaming.resume import GAP_ID, MESSAGES
from streaming.schemas import ChatBody, Options, PredictAnswer, StreamState, StreamTicket
from streaming.sse import RETRY_MS
from tests.parsers import parse
from tests.server import echo_settings
from uploads.job_events import GAPS, NAMES
from uploads.job_schemas import BatchForm, JobAnswer, JobList
from uploads.schemas import UploadAnswer, UploadList

PAGE = (Path(__file__).parent.parent / "docs" / "wire.md").read_text()
READINESS = {"draining": 503, "model_loading": 503, "model_failed": 503}
EVENTS: tuple[Event, ...] = (
    Started("s1", "default", "v1", 1, 2, 3),
    Queued(1, None),
    Progress("prefill", 1, 2),
    Delta("a"),
    Citation("u1", "a.pdf", 1, 0, 1, "a"),
    Finished("stop", Usage(1, 2), Timings(1, 2, 3, 4)),
    Failed("step_failed", "It failed.", retryable=False),
)


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table after a heading."""
    part = PAGE.partition(f"\n{heading}\n")[2]
    lines = [line for line in re.split(r"\n#+ ", part)[0].splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


def keys(cell: str) -> set[str]:
    return set(re.findall(r'"(\w+)"', cell.partition("`")[2].partition("`")[0]))


def test_the_routes_are_those_of_the_app() -> None:
    described = create_app(echo_settings()).openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert {row[0].strip("`") for row in rows("## Routes")} == served


@pytest.mark.parametrize(
    ("route", "model"),
    [
        ("POST /chat/streams", StreamTicket),
        ("GET /chat/streams/{stream_id}", StreamState),
        ("POST /predict", PredictAnswer),
        ("POST /uploads", UploadAnswer),
        ("GET /uploads", UploadList),
        ("GET /jobs", JobList),
        ("GET /jobs/{job_id}", JobAnswer),
        ("GET /uploads/{upload_id}", UploadAnswer),
    ],
)
def test_the_answers_have_the_fields_of_the_schemas(route: str, model: type[BaseModel]) -> None:
    said = next(row[1] for row in rows("## Routes") if row[0] == f"`{route}`")
    assert set(re.findall(r'"(\w+)"', said.rpartition("{")[2])) == set(model.model_fields)


def test_the_options_are_those_of_the_schemas() -> None:
    named = {row[0].strip("`"): row for row in rows("## Options")}
    assert set(named) == set(ChatBody.model_fields) - {"messages", "prompt"}
    for name, (_, bounds, where) in named.items():
        assert (where == "all") == (name in Options.model_fields)
        for constraint in ChatBody.model_fields[name].metadata:
            limits = [getattr(constraint, kind, None) for kind in ("ge", "gt", "le", "lt")]
            assert all(f"{limit:g}" in bounds or str(limit) in bounds for limit in limits if limit is not None), name


def test_the_events_are_those_of_the_encoder() -> None:
    said = {row[0].strip("`"): row[1] for row in rows("## Streams")}
    assert set(said) == {*(encode.name_of(event) or "(unnamed)" for event in EVENTS), "gap"}
    for event in EVENTS:
        data = encode.payload(event)
        inner = data["error"] if isinstance(event, Failed) else data
        assert set(inner) <= keys(said[encode.name_of(event) or "(unnamed)"]) | {"error"}
        assert keys(said[encode.name_of(event) or "(unnamed)"]) - {"error"} == set(inner)
    assert keys(said["gap"]) == set(encode.gap_payload("unknown"))
    assert all(f"`{reason}`" in said["gap"] for reason in MESSAGES)
    assert f"`{GAP_ID}`" in PAGE


def test_the_example_is_a_stream() -> None:
    example = PAGE.partition("```\n")[2].partition("```")[0]
    events = parse(example.encode() + b"\n")
    assert [event.name for event in events] == ["start", "message", "message", "end"]
    assert example.startswith(f"retry: {RETRY_MS}\n")
    assert set(events[0].json) == set(encode.payload(EVENTS[0]))
    assert set(events[-1].json) == set(encode.payload(EVENTS[-2]))
    assert set(events[-1].json["timings"]) == set(encode.payload(EVENTS[-2])["timings"])


def test_the_events_of_jobs_are_those_of_the_code() -> None:
    said = {row[0].strip("`"): row[1] for row in rows("## Jobs")}
    assert set(said) == {*NAMES.values(), "gap"}
    assert all(f"`{reason}`" in said["gap"] for reason in GAPS)


def test_the_fields_of_a_batch_are_those_of_the_form() -> None:
    assert {row[0].strip("`") for row in rows("## Batches")} == {*BatchForm.model_fields, "file"}


def test_the_codes_are_those_of_the_errors() -> None:
    said = {row[0].strip("`"): int(row[1]) for row in rows("## Codes")}
    domain = {kind.code: status for kind, status in STATUSES.items()}
    edge = {code: status for status, code in CODES.items()}
    assert said == {**domain, **edge, **BORDER_CODES, **READINESS}


def test_every_setting_on_the_page_exists() -> None:
    named = set(re.findall(r"HEADWATER_([A-Z_]+)", PAGE))
    assert {name.lower() for name in named} <= set(setting_paths(Settings))
