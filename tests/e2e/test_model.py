"""The real default model behind a real server: text comes, and the same seed gives it again."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.process import Headwater, free_port, serving

WITHIN_S = 120
QUESTION = {"prompt": "Name three rivers.", "max_tokens": "24", "seed": "7", "temperature": "0.8"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headwater]:
    with serving(tmp_path_factory.mktemp("model") / "log", free_port()) as server:
        yield server


def read(server: Headwater, accept: str) -> httpx.Response:
    answer = httpx.get(f"{server.url}/chat/stream", params=QUESTION, headers={"Accept": accept}, timeout=WITHIN_S)
    answer.raise_for_status()
    return answer


def test_the_same_seed_gives_the_same_words(server: Headwater) -> None:
    first = read(server, "text/plain").text
    assert len(first.split()) > 3
    assert read(server, "text/plain").text == first


def test_predict_knows_its_confidence(server: Headwater) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"text": "2 + 2 =", "max_tokens": 8}, timeout=WITHIN_S).json()
    assert answer["prediction"]
    assert 0 < answer["confidence"] <= 1
    assert answer["usage"]["completion_tokens"] <= 8


def test_the_log_says_what_is_served(server: Headwater) -> None:
    assert f"serves on {server.url}" in server.log.read_text()
    assert "tokens of context" in server.log.read_text()
