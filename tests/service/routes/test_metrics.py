"""A scrape of a real server: the names, what moves them, and what clients cannot do to them."""

import asyncio
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.metrics.uploads import outcome_of
from tests.raw import exchange, fetch, stream_path
from tests.server import RunningServer, echo_settings, serving, wait_until
from tests.service.metrics.scrape import Scraped, scrape
from uploads.errors import UploadsError

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(headwater_\w+)` \| (\w+) \| (.*?) \|", re.MULTILINE)
SUFFIXES = {"counter": "_total"}
WITHIN_S = 60.0


def kinds(root: type[UploadsError]) -> list[type[UploadsError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


@pytest.fixture
def metered() -> Iterator[RunningServer]:
    """A server of its own: everything that is counted is this test's doing."""
    with serving(echo_settings(uploads={"max_file_bytes": 1000})) as running:
        yield running


def wait_for(server: RunningServer, name: str, value: float, **labels: str) -> Scraped:
    """What ends with a connection is counted a moment after the client has read it."""
    wait_until(lambda: scrape(server.url).value(name, **labels) == value, WITHIN_S, f"{name} is {value}")
    return scrape(server.url)


def test_the_page_lists_each_metric_with_its_type_and_labels(metered: RunningServer) -> None:
    httpx.get(f"{metered.url}/health")
    found = {
        family.name + SUFFIXES.get(family.type, ""): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in scrape(metered.url).families.values()
    }
    said = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(PAGE)}
    assert said == found


def test_an_answer_is_counted_token_by_token(metered: RunningServer) -> None:
    answer = httpx.post(f"{metered.url}/predict", json={"text": "one two three four"}).json()
    now = scrape(metered.url)
    assert now.value("generations_total", reason="stop") == 1
    assert now.value("tokens_generated_total") == answer["usage"]["completion_tokens"]
    assert now.value("prompt_tokens_total") == answer["usage"]["prompt_tokens"]
    assert now.value("time_to_first_token_seconds_count") == now.value("generation_seconds_count") == 1
    assert now.value("inter_token_seconds_count") == answer["usage"]["completion_tokens"] - 1


def test_every_end_has_its_reason(metered: RunningServer) -> None:
    for text, options in (("a", {}), ("a b c", {"max_tokens": 1}), ("[[echo fail_at=1]]a b", {})):
        httpx.post(f"{metered.url}/predict", json={"text": text, **options})
    made = httpx.post(f"{metered.url}/chat/streams", json={"prompt": "[[echo hang_at=1]]a b"}).json()
    httpx.delete(f"{metered.url}/chat/streams/{made['stream_id']}")
    now = wait_for(metered, "generations_total", 1, reason="cancelled")
    assert {reason: now.value("generations_total", reason=reason) for reason in ("stop", "length", "failed")} == {
        "stop": 1,
        "length": 1,
        "failed": 1,
    }


async def test_readers_and_what_runs_are_those_of_the_moment(metered: RunningServer) -> None:
    async with exchange(metered.port, "GET", stream_path("[[echo hang_at=1]]a b", grace_s=0)) as one:
        await one.read_until(b'"a"')
        now = await asyncio.to_thread(scrape, metered.url)
        assert (now.value("readers"), now.value("generations_running")) == (1, 1)
    now = await asyncio.to_thread(wait_for, metered, "generations_running", 0)
    assert now.value("readers") == 0


async def test_a_reader_that_goes_on_is_a_resume(metered: RunningServer) -> None:
    async with exchange(metered.port, "GET", stream_path("[[echo repeat=50]] wave")) as one:
        head = await one.read_until(b"wave")
    event_id = re.findall(rb"id: (\S+)", head)[0].decode()
    await fetch(metered.port, "GET", "/chat/stream", {"Last-Event-ID": event_id})
    await fetch(metered.port, "GET", "/chat/stream", {"Last-Event-ID": "s" + "0" * 32 + ".1"})
    now = await asyncio.to_thread(scrape, metered.url)
    assert now.value("resumes_total") == 1


def test_clients_cannot_make_series(metered: RunningServer) -> None:
    for path in ("/nope/1", "/nope/2", "/docs", "/jobs/a", "/jobs/b", "/predict/x/y", "/uploads/%F0%9F%8C%8A"):
        httpx.get(metered.url + path)
    httpx.request("PROPFIND", f"{metered.url}/health")
    httpx.request("PROPFIND", f"{metered.url}/nope")
    now = wait_for(metered, "requests_total", 1, route="other", method="other", status="404")
    assert now.value("requests_total", route="other", method="GET", status="404") == 3
    assert now.value("requests_total", route="/jobs/{job_id}", method="GET", status="404") == 2
    templates = set(create_app(echo_settings()).openapi()["paths"])
    assert now.labels("requests", "route") <= {*templates, "/docs", "other"}
    assert now.labels("requests", "method") <= {"GET", "other"}


def test_a_client_that_left_before_the_answer_has_no_status(metered: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", metered.port)) as one:
        one.sendall(b"POST /uploads?filename=a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\nabc")
        wait_until(lambda: scrape(metered.url).value("upload_bytes_total") == 3, WITHIN_S, "the bytes have come")
    now = wait_for(metered, "uploads_total", 1, outcome="cut")
    assert now.value("upload_bytes_total") == 3


def test_files_are_counted_by_what_becomes_of_them(metered: RunningServer) -> None:
    form = [("file", ("a", b"1")), ("file", ("b", b"22"))]
    httpx.post(f"{metered.url}/uploads", files=form)
    httpx.put(f"{metered.url}/uploads/c", content=b"333")
    httpx.post(f"{metered.url}/uploads", files=[("fiel", ("a", b"1"))])
    httpx.put(f"{metered.url}/uploads/d", content=b"4" * 2000)
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "4", "Content-Type": "application/offset+octet-stream"}
    httpx.post(f"{metered.url}/files", content=b"4444", headers=tus)
    now = scrape(metered.url)
    assert now.value("uploads_total", outcome="kept") == 4
    assert now.value("uploads_total", outcome="refused") == 2
    assert now.value("upload_bytes_total") == 10


def test_each_error_of_uploads_has_an_outcome() -> None:
    outcomes = {kind.__name__: outcome_of(kind("it failed")) for kind in kinds(UploadsError)}
    assert {name for name, outcome in outcomes.items() if outcome == "cut"} == {
        "BodyIncomplete",
        "BodyStalled",
        "PartLocked",
    }
    assert (outcomes["FileTooLarge"], outcomes["StoreFailed"], outcomes["StoreFull"]) == ("refused", "failed", "failed")
    assert outcome_of(ZeroDivisionError()) == "failed"


def test_jobs_are_counted_by_state(metered: RunningServer) -> None:
    answer = httpx.post(f"{metered.url}/process-batch", files={"file": ("a.txt", b"one\ntwo\n")})
    assert answer.status_code == 202
    now = wait_for(metered, "jobs", 1, state="succeeded")
    assert now.value("jobs", state="queued") == 0
    assert now.value("tokens_generated_total") > 0
    assert now.value("generation_seconds_count") == 0, "background work says nothing about people's waiting"


def test_two_apps_count_apart(metered: RunningServer) -> None:
    httpx.post(f"{metered.url}/predict", json={"text": "a"})
    with serving() as other:
        assert scrape(other.url).value("generations_total", reason="stop") == 0


def test_the_loop_is_watched(metered: RunningServer) -> None:
    wait_until(lambda: scrape(metered.url).value("event_loop_lag_seconds_count") > 2, WITHIN_S, "it was measured")


def test_the_model_and_its_version_are_told(metered: RunningServer) -> None:
    assert scrape(metered.url).labels("model_info", "model") == {"default"}


def test_every_name_that_dashboards_of_others_rely_on_is_there(metered: RunningServer) -> None:
    """These names are a contract; they are listed here so that the page and the code cannot drop one together."""
    with_labels = {
        "generations_running": "",
        "generations_waiting": "",
        "generations_total": "reason",
        "tokens_generated_total": "",
        "prompt_tokens_total": "",
        "time_to_first_token_seconds": "",
        "inter_token_seconds": "",
        "generation_seconds": "",
        "requests_total": "route method status",
        "request_seconds": "route",
        "readers": "",
        "resumes_total": "",
        "uploads_total": "outcome",
        "upload_bytes_total": "",
        "jobs": "state",
        "model_info": "model version",
        "model_reloads_total": "outcome",
        "event_loop_lag_seconds": "",
        "cache_hits_total": "",
        "cache_misses_total": "",
        "rate_limited_total": "",
    }
    said = {name: " ".join(re.findall(r"`(\w+)`", labels)) for name, _, labels in ROW.findall(PAGE)}
    assert {name: said.get(f"headwater_{name}") for name in with_labels} == with_labels
