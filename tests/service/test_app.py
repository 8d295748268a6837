"""What surrounds every answer: request ids, CORS, problems, the description of the API."""

import inspect
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from service.access.policies import PUBLIC
from service.app import create_app
from tests.raw import connected, exchange, fetch, stream_path
from tests.server import RunningServer, echo_settings, serving

ORIGIN = "http://localhost:3000"
SECRET = "a-canary-that-must-stay-inside"


def add_broken_route(app: FastAPI) -> None:
    app.state.policies["GET /broken"] = PUBLIC

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(SECRET)


@pytest.fixture(scope="module")
def breakable() -> Iterator[RunningServer]:
    with serving(echo_settings(echo={"tokens_per_second": 400}), prepare=add_broken_route) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/broken", 500),
        ("GET", "/nope", 404),
        ("GET", "/predict", 405),
        ("POST", "/predict", 422),
        ("GET", "/chat/stream?prompt=x", 200),
        ("GET", "/chat/stream?prompt=x&model=nope", 404),
        ("GET", "/chat/streams/x", 404),
        ("GET", "/chat/stream?ticket=x", 401),
        ("GET", "/health", 200),
        ("GET", "/readyz", 200),
        ("GET", "/openapi.json", 200),
    ],
)
def test_every_answer_has_cors_headers_and_an_id(breakable: RunningServer, method: str, path: str, status: int) -> None:
    headers = {"Origin": ORIGIN, "X-Request-ID": "my-id.1_2"}
    answer = httpx.request(method, breakable.url + path, headers=headers)
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert {"x-request-id", "retry-after", "location"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )
    assert answer.headers["x-request-id"] == "my-id.1_2"
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == "my-id.1_2"


async def test_a_body_that_is_too_large_has_cors_headers(breakable: RunningServer) -> None:
    headers = {"Origin": ORIGIN, "Content-Length": "99999999"}
    async with exchange(breakable.port, "POST", "/predict", headers) as one:
        assert one.status == 413
        assert one.headers["access-control-allow-origin"] == ORIGIN


def test_a_foreign_origin_gets_no_permission(breakable: RunningServer) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:3000.evil.example"):
        answer = httpx.get(f"{breakable.url}/health", headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers


def test_a_preflight_allows_what_clients_send(breakable: RunningServer) -> None:
    for name in ("authorization", "content-type", "last-event-id", "x-api-key", "x-request-id", "idempotency-key",
        "x-stainless-lang", "x-stainless-retry-count", "tus-resumable", "upload-offset"):  # fmt: skip
        headers = {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": f"content-type, {name}",
        }
        answer = httpx.options(f"{breakable.url}/chat/stream", headers=headers)
        assert answer.status_code == 200, name
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize("sent", ["", "a b", "a" * 129, "a/b", "é", "{}", "a;b", "a,b"])
def test_an_ill_formed_request_id_is_replaced(breakable: RunningServer, sent: str) -> None:
    answer = httpx.get(f"{breakable.url}/livez", headers={b"X-Request-ID": sent.encode()})
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 32


def test_what_nobody_expected_is_logged_once_and_not_told(
    breakable: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    answer = httpx.get(f"{breakable.url}/broken", headers={"X-Request-ID": "find-me"})
    assert answer.json()["code"] == "internal_error"
    assert SECRET not in answer.text
    assert "RuntimeError" not in answer.text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.name for record in errors] == ["headwater.failures"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("PUT", "/chat/stream", "GET, POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("PUT", "/chat/streams/x", "DELETE, GET"),
        ("OPTIONS", "/chat/streams/x", "DELETE, GET"),
        ("POST", "/openapi.json", "GET, HEAD"),
    ],
)
def test_a_405_says_all_that_is_allowed(breakable: RunningServer, method: str, path: str, allowed: str) -> None:
    answer = httpx.request(method, breakable.url + path)
    assert (answer.json()["code"], answer.headers["allow"]) == ("method_not_allowed", allowed)


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
def test_what_supervisors_ask_answers_a_head_as_a_get(breakable: RunningServer, path: str) -> None:
    asked, got = httpx.head(breakable.url + path), httpx.get(breakable.url + path)
    assert (asked.status_code, asked.content) == (got.status_code, b"")
    assert asked.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("path", ["/predict/", "/chat/stream/", "/health/"])
def test_a_path_is_not_repaired_by_a_redirect_to_whatever_host_was_named(breakable: RunningServer, path: str) -> None:
    for method in ("GET", "POST"):
        answer = httpx.request(method, breakable.url + path, headers={"Host": "evil.localhost"}, json={"text": "x"})
        assert answer.status_code in (404, 405)
        assert "location" not in answer.headers


async def test_what_is_no_http_is_a_problem_too(breakable: RunningServer) -> None:
    async with connected(breakable.port) as one:
        one.writer.write(b"GARBAGE\r\n\r\n")
        await one.read_head()
        body = json.loads(await one.read_all())
    assert (one.status, one.headers["connection"]) == (400, "close")
    assert one.headers["content-type"] == "application/problem+json"
    assert (body["code"], body["request_id"]) == ("bad_request", one.headers["x-request-id"])


async def test_no_prompt_reaches_the_log(breakable: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await fetch(breakable.port, "GET", stream_path(SECRET))
        await fetch(breakable.port, "POST", "/predict", None, {"text": SECRET})
        await fetch(breakable.port, "POST", "/predict", None, {"text": SECRET, "x": 1})
        await fetch(breakable.port, "GET", stream_path(SECRET + "[[echo fail_at=0]]"), {"Accept": "text/plain"})
    assert any(record.name == "headwater.access" for record in caplog.records)
    assert SECRET not in caplog.text
    assert "Traceback" not in caplog.text


def test_the_description_names_every_route_and_the_problems(breakable: RunningServer) -> None:
    described = httpx.get(f"{breakable.url}/openapi.json").json()
    assert {
        "/chat/stream", "/chat/streams", "/chat/streams/{stream_id}", "/chat/streams/{stream_id}/events", "/predict",
        "/predict/{model_name}", "/health", "/livez", "/readyz",
    } <= set(described["paths"])  # fmt: skip
    stream = described["paths"]["/chat/stream"]["get"]["responses"]
    assert {"text/event-stream", "application/x-ndjson", "text/plain"} == set(stream["200"]["content"])
    for status in ("404", "406", "413", "422", "503"):
        assert set(stream[status]["content"]) == {"application/problem+json"}
    assert {"type", "title", "status", "detail", "code", "request_id", "errors"} <= set(
        described["components"]["schemas"]["Problem"]["properties"]
    )
    for reference in set(json.dumps(described).split('"$ref": "')[1:]):
        name = reference.partition('"')[0].rpartition("/")[2]
        assert name in described["components"]["schemas"]
    for path in ("/docs", "/redoc"):
        assert httpx.get(breakable.url + path).status_code == 200


def test_health_before_anything_else(breakable: RunningServer) -> None:
    answer = httpx.get(f"{breakable.url}/health").json()
    others = dict.fromkeys(("embeddings", "linear", "image", "sentiment"), "unloaded")
    models = {"default": "ready", **others}
    assert answer == {"status": "healthy", "engine": "FastAPI-ML", "models": models}
    assert httpx.get(f"{breakable.url}/livez").json() == {"status": "alive"}
    assert httpx.get(f"{breakable.url}/readyz").json() == {"status": "ready"}


def calls_of(dependant: Dependant) -> Iterator[Callable[..., Any]]:
    if dependant.call is not None:
        yield dependant.call
    for one in dependant.dependencies:
        yield from calls_of(one)


def test_no_request_is_handed_to_a_thread_only_to_find_what_it_needs() -> None:
    """FastAPI runs what is not `async` in a thread: a tenth of a millisecond each, and all threads may be taken."""
    routes = [one for one in iter_route_contexts(create_app(echo_settings()).routes) if hasattr(one, "dependant")]
    assert len(routes) > 20
    plain = {call for route in routes for call in calls_of(route.dependant) if not inspect.iscoroutinefunction(call)}
    assert not plain
