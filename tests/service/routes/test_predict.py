"""`POST /predict`: a whole answer with the model's own confidence."""

import math

import httpx
import pytest

from streaming.engines.echo.run import probability
from tests.server import RunningServer, echo_settings, serving


def test_a_prediction_is_what_the_wire_page_says(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"text": "one two three"}).json()
    assert set(answer) == {
        "prediction", "confidence", "model_used", "model_version", "processing_time_ms", "usage",
        "documents", "citations",
    }  # fmt: skip
    assert answer["prediction"] == "one two three"
    assert (answer["model_used"], answer["model_version"]) == ("default", "echo-1")
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    assert answer["processing_time_ms"] > 0


def test_confidence_is_the_mean_of_the_tokens_probabilities(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"text": "one two three"}).json()
    logs = [math.log(probability(token)) for token in (b"one", b" two", b" three")]
    assert answer["confidence"] == pytest.approx(math.exp(sum(logs) / 3))


@pytest.mark.parametrize(
    "send",
    [
        {"json": {"text": "one two"}},
        {"params": {"text": "one two"}},
        {"params": {"text": "one two", "temperature": "0.5", "seed": 7, "stop": "three"}},
        {"json": {"text": "one two", "max_tokens": 2, "temperature": 1, "seed": 7, "stop": "three"}},
        {"json": {"text": "one two three", "stop": [" three"]}},
        {"json": {"text": "one two three", "max_tokens": 2}},
    ],
)
def test_a_named_model_takes_body_or_query(server: RunningServer, send: dict[str, object]) -> None:
    answer = httpx.post(f"{server.url}/predict/default", **send)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["prediction"]) == (200, "one two")


@pytest.mark.parametrize(
    ("directive", "status", "code"),
    [("fail_at=1", 500, "step_failed"), ("nonfinite_at=1", 500, "non_finite_logits")],
)
def test_a_failed_generation_is_a_typed_problem(server: RunningServer, directive: str, status: int, code: str) -> None:
    answer = httpx.post(f"{server.url}/predict", json={"text": f"one two [[echo {directive}]]"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_predict_and_stream_give_the_same_text() -> None:
    with serving(echo_settings()) as running:
        text = "one\ntwo 🌊 \u2028three"
        predicted = httpx.post(f"{running.url}/predict", json={"text": text}).json()["prediction"]
        streamed = httpx.get(
            f"{running.url}/chat/stream", params={"prompt": text}, headers={"Accept": "text/plain"}
        ).text
        assert predicted == streamed == text
