"""The short ways of `/predict` with features and of `/embed` answer and refuse exactly as the long ones do."""

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from service.routes.asking import Asking
from service.routes.predict import answer_plain_features
from service.routes.short_way import plain_record
from tests.server import RunningServer
from tests.service.routes.served import serving_all

REQUEST_ID = re.compile(r'"request_id":"[0-9a-f]+"')
TOOK = re.compile(r',"processing_time_ms":[0-9.]+')
VARYING = ("date", "server-timing", "x-request-id")
SHORT, LONG = "application/json", "application/json; charset=utf-8"  # the same to a client, not to the short way
FEATURES = [
    '{"features": [1, 2, 3, 4]}',
    '{"features": [1.5, -2, 3e2, -0.0], "scale_factor": 0.5}',
    '{"features": [1, 2, 3]}',
    '{"features": []}',
    '{"features": [1, 2, 3, "4"]}',
    '{"features": [1, 2, 3, true]}',
    '{"features": [1, 2, 3, null]}',
    '{"features": [1, 2, 3, NaN]}',
    '{"features": [1, 2, 3, Infinity]}',
    '{"features": [1, 2, 3, 1e400]}',
    '{"features": [1, 2, 3, 123456789012345678901234567890]}',
    '{"features": {"a": 1}}',
    '{"features": "1234"}',
    '{"features": [1, 2, 3, 4], "scale_factor": 0}',
    '{"features": [1, 2, 3, 4], "scale_factor": -1}',
    '{"features": [1, 2, 3, 4], "scale_factor": "2"}',
    '{"features": [1, 2, 3, 4], "scale_factor": null}',
    '{"features": [1, 2, 3, 4], "more": 1}',
    '{"features": [1, 2, 3, 4], "features": [4, 3, 2, 1]}',
    '{"features": [1, 2, 3, 4], "model_name": "linear"}',
    '{"features": [1, 2, 3, 4], "\\ud800": 1}',
    '{"features": [1, 2, 3, 4]',
    '\ufeff{"features": [1, 2, 3, 4]}',
    '["features"]',
    '"features"',
    "null",
    "",
    '{"features": ' + "[" * 200 + "]" * 200 + "}",
]


TEXTS = [
    '{"text": "the price of the pump"}',
    '{"text": "the seal", "model_name": "vectors"}',
    '{"text": "the seal", "model_name": "nothing"}',
    '{"text": "the seal", "model_name": "tone"}',
    '{"text": "the seal", "more": 1}',
    '{"text": ""}',
    '{"text": "  "}',
    '{"text": "a\\u0000b"}',
    '{"text": "\\ud800"}',
    '{"text": 1}',
    '{"text": null}',
    "{}",
    "[]",
    "",
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving_all(tmp_path_factory.mktemp("models")) as server:
        yield server


def told(server: RunningServer, body: str, media_type: str, path: str = "/predict") -> tuple[Any, ...]:
    headers = {"Content-Type": media_type}
    answer = httpx.post(server.url + path, content=body.encode(), headers=headers, timeout=60)
    headers = {name: value for name, value in answer.headers.items() if name not in VARYING}
    return answer.status_code, TOOK.sub("", REQUEST_ID.sub("", answer.text)), {**headers, "content-length": ""}


@pytest.mark.parametrize("body", FEATURES)
def test_both_ways_say_the_same_of_features(server: RunningServer, body: str) -> None:
    assert told(server, body, SHORT) == told(server, body, LONG)


@pytest.mark.parametrize("body", TEXTS)
def test_both_ways_say_the_same_of_a_text(running: RunningServer, body: str) -> None:
    told(running, body, LONG, "/embed")  # afterwards it is in the cache for both
    assert told(running, body, SHORT, "/embed") == told(running, body, LONG, "/embed")


NUMBERS = st.integers() | st.floats(allow_nan=False) | st.booleans() | st.text(max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(["features", "scale_factor", "text"]), st.lists(NUMBERS, max_size=5) | NUMBERS))
def test_both_ways_say_the_same_to_whatever_comes(server: RunningServer, record: dict[str, Any]) -> None:
    body = json.dumps(record)
    if "text" not in record:
        assert told(server, body, SHORT) == told(server, body, LONG)


async def record_in(body: bytes, media_type: str = SHORT, query: bytes = b"") -> Any:
    async def receive() -> Message:
        return {"type": "http.request", "body": body} if body else {"type": "http.disconnect"}

    headers = [(b"content-type", media_type.encode())]
    return await plain_record(Request({"type": "http", "query_string": query, "headers": headers}, receive))


async def test_the_plain_case_goes_the_short_way_and_only_that() -> None:
    """Else the tests above would compare the long way with itself."""
    plain = b'{"features": [1, 2, 3, 4]}'
    assert await record_in(plain) == {"features": [1, 2, 3, 4]}
    assert await record_in(plain, LONG) is None
    assert await record_in(plain, query=b"text=a") is None
    assert await record_in(b"[1]") is None
    assert await record_in(b"{") is None


async def test_who_leaves_before_the_end_of_the_body_has_asked_nothing() -> None:
    assert await record_in(b"") is None


@pytest.mark.parametrize("other", [{"text": "a"}, {"features": [1], "text": "a"}, {"features": [1], "model_name": "a"}])
async def test_other_questions_than_of_features_go_the_long_way(other: dict[str, Any]) -> None:
    nobody = cast(Asking, None)
    assert await answer_plain_features(nobody, "owner", other) is None


def test_it_says_which_model_answered(server: RunningServer) -> None:
    status, text, headers = told(server, '{"features": [1, 2, 3, 4], "scale_factor": 2}', SHORT)
    assert (status, text) == (200, '{"prediction":6.0,"status":"success"}')
    assert headers["x-model-used"] == "linear"
