"""Jobs over HTTP, on a real server with the echo engine: what `docs/wire.md` says of them."""

import csv
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import Request

from service.auth import authenticate
from tests.browser_form import browser_form
from tests.parsers import SseEvent, parse
from tests.server import RunningServer, echo_settings, serving, wait_until
from uploads.jobs import JobError

WITHIN_S = 60.0
HANGS = "[[echo hang_at=1]] for ever and ever"
UNKNOWN = "j" + "0" * 32


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with quick_server() as running:
        yield running.url


@contextmanager
def quick_server(**given: Any) -> Iterator[RunningServer]:
    """`X-Owner` says who calls."""
    jobs = {"poll_interval_s": 0.05, "watch_interval_s": 0.02, "max_running": 4, **given.pop("jobs", {})}
    settings = echo_settings(echo={"tokens_per_second": 0}, jobs=jobs, heartbeat_s=0.2, **given)
    with serving(settings, prepare=with_owners) as running:
        yield running


def with_owners(app: Any) -> None:
    def owner_of_header(request: Request) -> None:
        request.state.owner = request.headers.get("x-owner", "ann")

    app.dependency_overrides[authenticate] = owner_of_header


def post(url: str, content: str | bytes, name: str = "rows.txt", owner: str = "ann", **fields: str) -> httpx.Response:
    files = {"file": (name, content)}
    return httpx.post(f"{url}/process-batch", files=files, data=fields, headers={"X-Owner": owner})


def started(url: str, content: str, **fields: str) -> str:
    response = post(url, content, **fields)
    assert response.status_code == 202, response.text
    assert set(response.json()) == {"job_id", "status"}
    assert response.json()["status"] == "processing"
    return str(response.json()["job_id"])


def state(url: str, job_id: str) -> dict[str, Any]:
    response = httpx.get(f"{url}/job/{job_id}")
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def ended(url: str, job_id: str) -> dict[str, Any]:
    final = ("succeeded", "failed", "cancelled")
    wait_until(lambda: state(url, job_id)["status"] in final, WITHIN_S, "the job has ended")
    return state(url, job_id)


def is_running(url: str, job_id: str) -> Callable[[], bool]:
    return lambda: state(url, job_id)["status"] == "running"


def read_events(url: str, job_id: str, last_event_id: str = "") -> tuple[bytes, list[SseEvent]]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    response = httpx.get(f"{url}/jobs/{job_id}/events", headers=headers, timeout=WITHIN_S)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    return response.content, parse(response.content)


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def test_a_batch_is_done_in_the_background(url: str) -> None:
    job_id = started(url, "text,id\nfirst,1\nsecond,2\n", name="rows.csv")
    done = ended(url, job_id)
    assert (done["status"], done["progress"], done["done"], done["total"]) == ("succeeded", 1.0, 2, 2)
    assert done["error"] is None
    answer = httpx.get(url + done["result"]["url"])
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [(row["text"], row["id"], row["prediction"]) for row in rows] == [
        ("first", "1", "first"),
        ("second", "2", "second"),
    ]
    assert all(0 < float(row["confidence"]) <= 1 for row in rows)
    assert int(answer.headers["content-length"]) == done["result"]["size"] == len(answer.content)


def test_the_file_of_a_batch_is_an_upload(url: str) -> None:
    job = ended(url, started(url, "one\n"))
    content = httpx.get(f"{url}/uploads/{job['upload_id']}/content", headers={"X-Owner": "ann"})
    assert content.content == b"one\n"


def test_a_result_can_be_read_in_ranges_and_asked_for_by_head(url: str) -> None:
    job_id = ended(url, started(url, "one\n"))["job_id"]
    whole = httpx.get(f"{url}/jobs/{job_id}/result").content
    part = httpx.get(f"{url}/jobs/{job_id}/result", headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, whole[2:6])
    assert httpx.head(f"{url}/job/{job_id}/result").headers["content-length"] == str(len(whole))


def test_a_row_that_the_model_refuses_is_reported_in_its_place(url: str) -> None:
    lines = ["one", "[[echo fail_at=0]] two words", "[[echo nonfinite_at=1]] more words here", "four"]
    job = ended(url, started(url, "\n".join(lines), result_format="jsonl"))
    answers = [line for line in httpx.get(f"{url}/jobs/{job['job_id']}/result").text.splitlines()]
    assert job["status"] == "succeeded"
    assert len(answers) == 4
    assert '"error": "step_failed: ' in answers[1]
    assert '"error": "non_finite_logits: ' in answers[2]
    assert '"error": null' in answers[3]


def test_a_result_is_not_there_before_the_end(url: str) -> None:
    job_id = started(url, HANGS)
    wait_until(is_running(url, job_id), WITHIN_S, "it runs")
    assert problem(httpx.get(f"{url}/jobs/{job_id}/result")) == (409, "job_not_done")
    assert state(url, job_id)["progress"] < 1
    httpx.delete(f"{url}/jobs/{job_id}")
    assert problem(httpx.get(f"{url}/jobs/{job_id}/result")) == (404, "no_result")


def test_a_cancelled_job_frees_the_engine_and_stays_cancelled() -> None:
    with quick_server() as running:
        job_id = started(running.url, "\n".join([HANGS] * 8))
        wait_until(lambda: running.engine.load.running == 8, WITHIN_S, "its rows run")
        assert httpx.delete(f"{running.url}/job/{job_id}").status_code == 204
        assert httpx.delete(f"{running.url}/jobs/{job_id}").status_code == 204
        wait_until(lambda: running.engine.load.running == 0, WITHIN_S, "its rows have gone")
        assert state(running.url, job_id)["status"] == "cancelled"


def test_a_job_that_succeeded_cannot_be_cancelled(url: str) -> None:
    job_id = ended(url, started(url, "one"))["job_id"]
    assert problem(httpx.delete(f"{url}/jobs/{job_id}")) == (409, "job_ended")


@pytest.mark.parametrize("job_id", [UNKNOWN, "x", "j" + "A" * 32, "%00", "...", UNKNOWN + "0"])
def test_an_unknown_id_is_404_on_every_route(url: str, job_id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/result")):
        assert httpx.request(method, f"{url}/jobs/{job_id}{path}").status_code == 404


def test_somebody_elses_job_is_like_an_unknown_one(url: str) -> None:
    job_id = started(url, "one")
    ended(url, job_id)
    bob = {"X-Owner": "bob"}
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/result")):
        for prefix in ("job", "jobs"):
            answer = httpx.request(method, f"{url}/{prefix}/{job_id}{path}", headers=bob)
            assert problem(answer) == (404, "unknown_job")
    assert httpx.get(f"{url}/jobs", headers=bob).json()["jobs"] == []


def test_jobs_are_listed_page_by_page_and_by_state(url: str) -> None:
    owner = {"X-Owner": "lister"}
    made = [post(url, "one", owner="lister").json()["job_id"] for _ in range(5)]

    def listed(**query: Any) -> Any:
        return httpx.get(f"{url}/jobs", params=query, headers=owner).json()

    wait_until(lambda: len(listed(status="succeeded")["jobs"]) == 5, WITHIN_S, "all are done")
    first = listed(limit=3)
    rest = listed(limit=3, after=first["next"])
    assert [job["job_id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]
    assert rest["next"] is None
    assert listed(status="failed")["jobs"] == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=x", "status=done", "other=1"])
def test_a_wrong_query_is_422(url: str, query: str) -> None:
    assert httpx.get(f"{url}/jobs?{query}").status_code == 422


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"max_tokens": "0"}, "max_tokens"),
        ({"temperature": "nan"}, "temperature"),
        ({"temperature": "3"}, "temperature"),
        ({"seed": "-1"}, "seed"),
        ({"format": "xml"}, "format"),
        ({"result_format": "lines"}, "result_format"),
        ({"model": "a\0b"}, "model"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_is_422_and_leaves_no_upload(url: str, fields: dict[str, str], field: str) -> None:
    owner = f"wrong-{field}"
    response = post(url, "one", owner=owner, **fields)
    assert problem(response) == (422, "invalid_request")
    assert response.json()["errors"][0]["loc"] == ["body", field]
    assert httpx.get(f"{url}/uploads", headers={"X-Owner": owner}).json()["uploads"] == []


def test_an_empty_field_of_a_form_is_not_there(url: str) -> None:
    fields = ("model", "max_tokens", "temperature", "seed", "text_column", "format", "result_format")
    response = httpx.post(f"{url}/process-batch", **browser_form(dict.fromkeys(fields, ""), ("rows.txt", b"one")))
    assert response.status_code == 202, response.text
    assert ended(url, response.json()["job_id"])["status"] == "succeeded"


@pytest.mark.parametrize(
    ("content", "name", "fields"),
    [
        ("", "rows.txt", {}),
        ("id,words\n1,one\n", "rows.csv", {}),
        ("one\n", "rows.xlsx", {}),
        ("one\n", "rows.txt", {"text_column": "words"}),
        ("text\none\n".encode("utf-16"), "rows.csv", {}),
    ],
)
def test_a_file_that_is_no_table_is_refused_at_once(
    url: str, content: str | bytes, name: str, fields: dict[str, str]
) -> None:
    response = post(url, content, name, owner="no-table", **fields)
    assert problem(response) == (422, "invalid_batch")
    assert httpx.get(f"{url}/uploads", headers={"X-Owner": "no-table"}).json()["uploads"] == []


def test_an_unknown_model_is_404(url: str) -> None:
    assert problem(post(url, "one", model="other")) == (404, "unknown_model")


def test_a_batch_needs_one_file(url: str) -> None:
    assert problem(httpx.post(f"{url}/process-batch", content=b"one")) == (400, "no_file")
    assert problem(httpx.post(f"{url}/process-batch", files={"model": (None, "default")})) == (400, "no_file")
    assert problem(httpx.post(f"{url}/process-batch", **browser_form({}))) == (400, "no_file")
    assert problem(httpx.post(f"{url}/process-batch", files={"file": (None, "rows.txt")})) == (400, "no_file")
    two = [("file", ("a.txt", b"one")), ("file", ("b.txt", b"two"))]
    assert problem(httpx.post(f"{url}/process-batch", files=two)) == (413, "too_many_files")


def test_a_full_queue_and_too_many_rows_are_refused() -> None:
    with quick_server(jobs={"max_waiting": 1, "run_here": False, "batch_max_rows": 2}) as running:
        started(running.url, "one")
        response = post(running.url, "one")
        assert problem(response) == (503, "too_many_jobs")
        assert "retry-after" in response.headers
        assert problem(post(running.url, "one\ntwo\nthree")) == (422, "invalid_batch")


def test_a_file_of_rows_that_is_too_large_is_413_before_it_is_read() -> None:
    with quick_server(jobs={"batch_max_bytes": 2048}) as running:
        assert post(running.url, "x" * 4000).status_code == 413


def test_events_follow_a_job_to_its_end(url: str) -> None:
    lines = "\n".join(["[[echo tps=20]] one two three four five six"] * 20)
    job_id = started(url, lines)
    content, events = read_events(url, job_id)
    assert content.startswith(b"retry: 1500\nid: " + job_id.encode())
    assert content.count(b"retry:") == 1
    assert [event.name for event in events[:-1]] == ["progress"] * (len(events) - 1)
    assert events[-1].name == "end"
    assert events[-1].json == state(url, job_id)
    versions = [int(event.last_event_id.partition(".")[2]) for event in events]
    assert versions == sorted(set(versions))
    assert all(event.last_event_id.startswith(job_id + ".") for event in events)
    done = [event.json["done"] for event in events]
    assert done == sorted(done)
    assert done[-1] == 20


def test_events_of_a_failed_job_end_with_failed() -> None:
    with quick_server(jobs={"run_here": False}) as running:
        job_id = started(running.url, "one")
        store = running.state["jobs"].store

        async def fail() -> None:
            await store.fail(await store.claim(["batch"], 30), JobError("broken", "It broke."))

        running.run(fail())
        _, events = read_events(running.url, job_id)
        assert [event.name for event in events] == ["failed"]
        assert events[0].json["error"] == {"code": "broken", "message": "It broke."}


def test_silence_is_filled_with_pings_and_the_end_comes_at_once(url: str) -> None:
    job_id = started(url, HANGS)
    wait_until(is_running(url, job_id), WITHIN_S, "it runs")
    timer = threading.Timer(0.7, lambda: httpx.delete(f"{url}/jobs/{job_id}"))
    timer.start()
    content, events = read_events(url, job_id)
    timer.join()
    assert content.count(b": ping\n") >= 2
    assert b": ping\n\n" not in content
    assert events[-1].json["status"] == "cancelled"


def test_a_reader_that_comes_back_gets_what_is_new(url: str) -> None:
    job_id = ended(url, started(url, "one"))["job_id"]
    _, events = read_events(url, job_id)
    last = events[-1].last_event_id
    version = int(last.partition(".")[2])
    again = httpx.get(f"{url}/jobs/{job_id}/events", headers={"Last-Event-ID": last})
    assert (again.status_code, again.content) == (204, b"")
    _, newer = read_events(url, job_id, f"{job_id}.{version - 1}")
    assert [event.name for event in newer] == ["end"]


@pytest.mark.parametrize(
    ("last_event_id", "reason"),
    [
        ("{job}.999", "future"),
        ("{job}." + "9" * 31, "future"),
        (UNKNOWN + ".1", "unknown"),
        ("{job}.-1", "unknown"),
        ("{job}", "unknown"),
        ("x" * 8000, "unknown"),
    ],
)
def test_an_id_that_cannot_be_resumed_is_a_gap_and_then_204(url: str, last_event_id: str, reason: str) -> None:
    job_id = started(url, "one")
    ended(url, job_id)
    content, events = read_events(url, job_id, last_event_id.format(job=job_id))
    assert content.startswith(b"retry: 1500\nid: gap.0\n")
    assert [(event.name, event.json["reason"], event.last_event_id) for event in events] == [("gap", reason, "gap.0")]
    after = httpx.get(f"{url}/jobs/{job_id}/events", headers={"Last-Event-ID": "gap.0"})
    assert after.status_code == 204


def test_a_reader_that_leaves_is_not_watched_any_more() -> None:
    with quick_server() as running:
        job_id = started(running.url, HANGS)
        watch = running.state["jobs"].watch
        with httpx.stream("GET", f"{running.url}/jobs/{job_id}/events") as response:
            reading = response.iter_bytes()  # held: when it goes, httpx closes the connection
            next(reading)
            wait_until(lambda: len(watch._waiting) == 1, WITHIN_S, "it is watched")
        wait_until(lambda: len(watch._waiting) == 0, WITHIN_S, "nobody watches")


def test_a_server_that_leaves_gives_its_job_back_and_the_next_one_ends_it(tmp_path: Path) -> None:
    lines = "\n".join([f"row {number}" for number in range(10)] + ["[[echo tps=2]] a slow row of many words"])
    with quick_server(data_dir=tmp_path) as running:
        job_id = started(running.url, lines)
        wait_until(lambda: state(running.url, job_id)["done"] == 10, WITHIN_S, "all but the last row are done")
    with quick_server(data_dir=tmp_path) as running:
        job = ended(running.url, job_id)
        assert (job["status"], job["attempts"]) == ("succeeded", 1)
        rows = list(csv.DictReader(httpx.get(running.url + job["result"]["url"]).text.splitlines()))
    assert [row["prediction"] for row in rows[:10]] == [f"row {number}" for number in range(10)]


def test_a_file_to_ingest_becomes_a_job() -> None:
    with serving(echo_settings(jobs={"run_here": False}), prepare=with_owners) as running:
        response = httpx.post(f"{running.url}/process-file", files={"file": ("a.md", b"# A")})
        assert response.status_code == 202
        body = response.json()
        assert body["message"] == "File uploaded, processing in background"
        job = state(running.url, body["job_id"])
        assert (job["kind"], job["status"], job["upload_id"]) == ("ingest", "queued", body["upload_id"])
        extra = httpx.post(f"{running.url}/process-file", files={"file": ("a.md", b"# A"), "x": (None, "y")})
        assert problem(extra) == (422, "invalid_request")
