"""A broken engine as a client and a supervisor of processes see it: `/readyz`, `/livez`, the stream, and afterwards."""

import json
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.parsers import parse
from tests.raw import exchange, fetch, stream_path
from tests.server import RunningServer, echo_settings, serving, wait_until
from tests.service.metrics.scrape import scrape

WITHIN_S = 60


@pytest.fixture
def breakable(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """As many restarts as the test asks for."""
    restarts = getattr(request, "param", 5)
    with serving(echo_settings(echo={"may_break": True}, engine_max_restarts=restarts, heartbeat_s=0.2)) as running:
        yield running


@pytest.mark.parametrize("breakable", [0], indirect=True)
async def test_a_hung_engine_is_told_and_its_streams_fail(breakable: RunningServer) -> None:
    async with exchange(breakable.port, "GET", stream_path("one two three [[echo freeze_at=2]]")) as one:
        await one.read_until(b"two")
        began = time.monotonic()
        last = parse(await one.read_all())[-1]
        took_s = time.monotonic() - began
    assert (last.name, last.json["error"]["code"]) == ("failed", "engine_down")
    assert last.json["error"]["retryable"] is True
    assert took_s < WITHIN_S
    _, body = await fetch(breakable.port, "GET", "/readyz")
    told = json.loads(body)
    assert (told["status"], told["code"]) == (503, "model_failed")
    assert "its thread hangs" in told["reasons"][0]
    assert (await fetch(breakable.port, "GET", "/livez"))[0].status == 200
    refused, body = await fetch(breakable.port, "GET", stream_path("more"))
    assert (refused.status, json.loads(body)["code"]) == (503, "engine_down")


@pytest.mark.parametrize("fault", ["crash_at", "freeze_at"])
def test_the_service_comes_back_by_itself(breakable: RunningServer, fault: str) -> None:
    url = breakable.url
    events = parse(httpx.get(url + stream_path(f"one two three [[echo {fault}=2]]"), timeout=WITHIN_S).content)
    assert events[-1].name == "failed"
    wait_until(lambda: httpx.get(f"{url}/readyz").is_success, WITHIN_S, "it is ready again")
    answer = httpx.post(f"{url}/predict", json={"text": "one two"})
    assert answer.json()["prediction"] == "one two"
    assert scrape(url).value("engine_restarts_total", model="default") == 1


def test_without_leave_no_prompt_can_break_the_engine(server: RunningServer) -> None:
    for fault in ("crash_at", "freeze_at"):
        answer = httpx.post(f"{server.url}/predict", json={"text": f"one two [[echo {fault}=1]]"})
        assert answer.json()["prediction"].split() == ["one", "two"]
