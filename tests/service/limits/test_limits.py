"""Limits on a real server: exact, told, per caller and route, and no forged header gets around them."""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from bench.servers import free_port
from service.limits.limiter import Limiter
from service.limits.settings import LimitSettings
from tests.raw import exchange, stream_path
from tests.server import RunningServer, echo_settings, server_process, serving, wait_until
from tests.service.limits.clock import Clock

DEADLINE_S = 60.0
TOO_MANY = 429


@contextmanager
def limited(clock: Clock, proxies: tuple[str, ...] = (), **limits: Any) -> Iterator[RunningServer]:
    settings = echo_settings(limits=limits, trusted_proxies=proxies, echo={"tokens_per_second": 0})

    def with_clock(app: FastAPI) -> None:
        app.state.limiter = Limiter(settings.limits, clock=clock)

    with serving(settings, with_clock) as running:
        yield running


def test_of_2000_requests_exactly_100_pass_whatever_they_forge() -> None:
    """P5: the clock moves 5 s over them, and then to where the first comes free."""
    clock = Clock()
    with limited(clock, requests="100/minute") as running, httpx.Client(base_url=running.url) as client:
        began, statuses = clock.now, []
        for number in range(2000):
            forged = {
                "X-Forwarded-For": f"203.0.113.{number % 250}",
                "X-Real-IP": "1.2.3.4",
                "Forwarded": "for=1.2.3.4",
            }
            answer = client.get("/jobs", headers=forged)
            statuses.append(answer.status_code)
            clock.now += 5 / 2000
        assert statuses == [200] * 100 + [TOO_MANY] * 1900
        assert answer.headers["retry-after"] == "56"  # 55.0025 s are left
        clock.now += 54
        assert client.get("/jobs").headers["retry-after"] == "1"
        clock.now = began + 60
        assert client.get("/jobs").status_code == 200
        assert "headwater_rate_limited_total 1901.0" in client.get("/metrics").text


def test_the_headers_say_what_is_left() -> None:
    clock = Clock()
    with limited(clock, requests="3/minute;5/hour", routes={"GET /jobs": "2/second"}) as running:
        answer = httpx.get(f"{running.url}/jobs")
        assert answer.headers["ratelimit-policy"] == '"requests";q=3;w=60, "requests";q=5;w=3600, "GET /jobs";q=2;w=1'
        assert answer.headers["ratelimit"] == '"requests";r=2;t=60, "requests";r=4;t=3600, "GET /jobs";r=1;t=1'
        assert httpx.get(f"{running.url}/jobs").is_success
        refused = httpx.get(f"{running.url}/jobs")
        assert (refused.status_code, refused.json()["code"]) == (TOO_MANY, "too_many_requests")
        assert refused.headers["retry-after"] == "1"
        assert "ratelimit" in refused.headers
        assert httpx.get(f"{running.url}/uploads").status_code == TOO_MANY  # all routes together
        for path in ("/livez", "/health", "/ping", "/metrics", "/docs", "/openapi.json"):
            free = httpx.get(running.url + path)
            assert free.is_success
            assert "ratelimit" not in free.headers


def test_behind_a_declared_proxy_each_client_has_its_own_window() -> None:
    clock = Clock()
    with limited(clock, ("127.0.0.1",), requests="1/minute") as running:

        def ask(forwarded: str) -> int:
            return httpx.get(f"{running.url}/jobs", headers={"X-Forwarded-For": forwarded}).status_code

        assert [ask("203.0.113.1"), ask("203.0.113.2"), ask("203.0.113.1")] == [200, 200, TOO_MANY]
        assert ask("203.0.113.9, 203.0.113.1") == TOO_MANY  # what stands left of it is the client's own word
        assert [ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8:1::1")] == [200, TOO_MANY, 200]


async def test_streams_open_at_once_are_bounded_and_come_free() -> None:
    with limited(Clock(), streams=2) as running:
        path = stream_path("word [[echo repeat=100000 tps=20]]", grace_s=0)
        async with exchange(running.port, "GET", path), exchange(running.port, "GET", path) as second:
            async with exchange(running.port, "GET", path) as third:
                assert (third.status, third.headers["retry-after"]) == (TOO_MANY, "1")
            second.cut("rst")
            async with asyncio.timeout(DEADLINE_S):
                while (await status_of(running, path)) == TOO_MANY:
                    pass
        limiter = running.uvicorn.config.loaded_app.state.limiter
        wait_until(lambda: limiter.callers_with_streams == 0, DEADLINE_S, "no stream is counted any more")


async def status_of(running: RunningServer, path: str) -> int:
    async with exchange(running.port, "GET", path) as one:
        return one.status


def test_tokens_are_charged_when_they_are_written() -> None:
    clock = Clock()
    with limited(clock, tokens="10/minute") as running, httpx.Client(base_url=running.url) as client:
        assert client.post("/predict", json={"text": "one two three four five six"}).is_success
        wait_until(lambda: spent(running, client), DEADLINE_S, "the tokens are charged")
        refused = client.post("/predict", json={"text": "one"})
        assert (refused.status_code, refused.headers["retry-after"]) == (TOO_MANY, "60")
        assert client.get("/jobs").is_success
        clock.now += 60
        assert client.post("/predict", json={"text": "one"}).is_success


def test_whoever_has_used_up_the_tokens_has_used_them_up_on_every_route_that_writes() -> None:
    asked: dict[str, Any] = {
        "/predict": {"text": "one"},
        "/predict/default": {"text": "one"},
        "/predict-batch": ["one"],
        "/invocations": {"text": "one"},
        "/chat/stream": {"prompt": "one"},
        "/chat/streams": {"prompt": "one"},
    }
    with limited(Clock(), tokens="10/minute") as running, httpx.Client(base_url=running.url) as client:
        wait_until(lambda: spent(running, client), DEADLINE_S, "the tokens are charged")
        statuses = {path: client.post(path, json=body).status_code for path, body in asked.items()}
        form = client.post("/chat/stream", data={"prompt": "one"}, files={"file": ("a.txt", b"x")})
        assert {**statuses, "form": form.status_code} == dict.fromkeys([*asked, "form"], TOO_MANY)


def spent(running: RunningServer, client: httpx.Client) -> bool:
    return client.post("/predict", json={"text": "one two three four five"}).status_code == TOO_MANY


def test_bytes_of_uploads_are_counted_and_a_declared_length_is_refused_before_it_is_sent() -> None:
    clock = Clock()
    with limited(clock, upload_bytes="10000/minute") as running, httpx.Client(base_url=running.url) as client:
        assert client.put("/uploads/a", content=b"x" * 6000).status_code == 201
        refused = client.put("/uploads/b", content=b"x" * 6000)
        assert refused.status_code == TOO_MANY
        assert client.put("/uploads/c", content=b"x" * 4000).status_code == 201
        assert client.put("/uploads/d", content=b"x").status_code == TOO_MANY
        clock.now += 60
        assert client.put("/uploads/e", content=b"x" * 6000).status_code == 201


def test_files_of_a_question_are_counted_as_well() -> None:
    with limited(Clock(), upload_bytes="10000/minute") as running, httpx.Client(base_url=running.url) as client:

        def ask() -> int:
            files = {"file": ("a.txt", b"The sea is salty.\n" * 400)}
            return client.post("/chat/stream", data={"prompt": "one"}, files=files).status_code

        assert [ask(), ask()] == [200, TOO_MANY]
        assert client.post("/chat/stream", json={"prompt": "one"}).is_success


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ("POST /serach", "is no route; did you mean POST /search?"),
        ("/search", "did you mean POST /search?"),
        ("POST /login/", "did you mean POST /login?"),
        ("GET /livez", "is never limited"),
        ("GET /", "is never limited"),
    ],
)
def test_a_limit_on_a_route_that_there_is_not_is_said_at_the_start(route: str, told: str) -> None:
    with pytest.raises(ValueError, match="routes") as error:
        LimitSettings(routes={route: "1/minute"})
    assert told in str(error.value)


@pytest.mark.parametrize("rate", ["100", "x/minute", "-1/minute", "100/fortnight"])
def test_what_is_no_rate_is_said_at_the_start(rate: str) -> None:
    with pytest.raises(ValueError, match="is no rate"):
        LimitSettings(requests=rate)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("needs Debian's redis-server")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    command = [found, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), DEADLINE_S, "redis listens")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_processes_share_their_windows_in_redis(redis_url: str, tmp_path: Path) -> None:
    chosen = {"limits__requests": "30/hour", "limits__redis_url": redis_url}
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    with server_process(folders[0], **chosen) as first, server_process(folders[1], **chosen) as second:
        ports = (first.port, second.port)
        with httpx.Client(timeout=DEADLINE_S) as client:
            statuses = [client.get(f"http://127.0.0.1:{ports[number % 2]}/jobs").status_code for number in range(60)]
    assert statuses == [200] * 30 + [TOO_MANY] * 30


def test_without_its_redis_a_limited_service_refuses(tmp_path: Path) -> None:
    chosen = {"limits__requests": "30/hour", "limits__redis_url": f"redis://127.0.0.1:{free_port()}/0"}
    with server_process(tmp_path, **chosen) as running:
        answer = httpx.get(f"http://127.0.0.1:{running.port}/jobs", timeout=DEADLINE_S)
        assert (answer.status_code, answer.json()["code"]) == (503, "limits_unavailable")
        assert httpx.get(f"http://127.0.0.1:{running.port}/livez").is_success
