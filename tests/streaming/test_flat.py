"""Memory stays flat, in short: nothing of a request is left when it is over. `python -m bench.flat` weighs it."""

import gc
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.raw import stream_path
from tests.server import RunningServer, echo_settings, serving, wait_until

WITHIN_S = 60
CYCLES = 60
OURS = ("streaming.", "service.", "uploads.")


@pytest.fixture
def forgetful() -> Iterator[RunningServer]:
    with serving(echo_settings(echo={"tokens_per_second": 0}, finished_log_ttl_s=0)) as running:
        yield running


def go_through(server: RunningServer) -> None:
    with httpx.Client(base_url=server.url, timeout=WITHIN_S) as client:
        for number in range(CYCLES):
            assert client.get(stream_path("one two three")).is_success
            with client.stream("GET", stream_path("word [[echo hang_at=1]]", grace_s=0)) as answer:
                next(answer.iter_bytes())
            assert client.post("/predict", json={"text": "one"}).is_success
            assert client.post("/predict", json={"text": "", f"field{number}": 1}).status_code == 422
            kept = client.put(f"/uploads/file{number}", content=b"x").json()["upload_id"]
            assert client.delete(f"/uploads/{kept}").is_success
            assert client.get(f"/nowhere/{number}").status_code == 404
    wait_until(server.is_idle, WITHIN_S, "it is idle again")
    wait_until(lambda: server.call(lambda: server.streams.live) == 0, WITHIN_S, "no stream lives")
    wait_until(lambda: server.call(lambda: server.streams.finished_bytes) == 0, WITHIN_S, "none is remembered")


def ours() -> Counter[str]:
    """Live objects of classes of ours, by class."""
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    names = (f"{kind.__module__}.{kind.__qualname__}" for kind in kinds)
    return Counter(name for name in names if name.startswith(OURS))


def test_no_object_of_a_request_is_left_when_it_is_over(forgetful: RunningServer) -> None:
    go_through(forgetful)
    before = ours()
    go_through(forgetful)
    more = {kind: count for kind, count in (ours() - before).items() if count >= CYCLES // 2}
    assert more == {}, "as many as there were requests, or half of them"
