"""Preflights: a family of headers that has no end, and refusals in the shape of every other error."""

import httpx
import pytest

from tests.server import RunningServer

ORIGIN = "http://localhost:3000"


def preflight(server: RunningServer, asked: str | None, origin: str = ORIGIN, method: str = "POST") -> httpx.Response:
    headers = [(b"Origin", origin.encode()), (b"Access-Control-Request-Method", method.encode())]
    if asked is not None:
        headers.append((b"Access-Control-Request-Headers", asked.encode()))
    return httpx.options(f"{server.url}/chat/stream", headers=headers)


@pytest.mark.parametrize(
    "asked", ["x-stainless-new", "X-Stainless-New", "content-type,x-stainless-new , x-stainless-b"]
)
def test_every_header_of_generated_clients_is_allowed(server: RunningServer, asked: str) -> None:
    answer = preflight(server, asked)
    assert answer.status_code == 200
    allowed = {name.strip().lower() for name in answer.headers["access-control-allow-headers"].split(",")}
    assert {name.strip().lower() for name in asked.split(",")} <= allowed
    assert "authorization" in allowed


def test_a_preflight_that_asks_for_no_header_is_allowed(server: RunningServer) -> None:
    assert preflight(server, None).status_code == 200


@pytest.mark.parametrize(
    ("asked", "origin", "method"),
    [
        ("x-evil", ORIGIN, "POST"),
        ("x-stainless-a, x-evil", ORIGIN, "POST"),
        ("x-stainless-", ORIGIN, "POST"),
        ("x-stainless-é", ORIGIN, "POST"),
        ("x-stainless-a", "https://evil.example", "POST"),
        ("x-stainless-a", ORIGIN, "TRACE"),
    ],
)
def test_a_refused_preflight_is_a_problem(server: RunningServer, asked: str, origin: str, method: str) -> None:
    answer = preflight(server, asked, origin, method)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.json()["detail"].startswith("Disallowed CORS ")
    assert "evil" not in answer.headers.get("access-control-allow-headers", "")
