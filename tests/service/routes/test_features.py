"""`POST /predict` with numbers: the linear model that every service has."""

from typing import Any

import httpx
import pytest

from tests.server import RunningServer


def ask(server: RunningServer, body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", json=body, timeout=30)


def raw(server: RunningServer, body: str) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    return httpx.post(f"{server.url}/predict", content=body, headers=headers, timeout=30)


def test_features_get_the_weighted_sum_and_nothing_else(server: RunningServer) -> None:
    answer = ask(server, {"features": [1.0, 2.0, 3.0, 4.0]})
    assert answer.status_code == 200
    assert answer.json() == {"prediction": 3.0, "status": "success"}
    assert answer.headers["x-model-used"] == "linear"
    assert answer.headers["x-model-version"]
    assert ask(server, {"features": [1, 2, 3, 4], "scale_factor": 0.5}).json()["prediction"] == 1.5


@pytest.mark.parametrize("features", [[], [1], [1, 2, 3], [1, 2, 3, 4, 5]])
def test_a_list_that_is_not_four_long_is_400(server: RunningServer, features: list[float]) -> None:
    answer = ask(server, {"features": features})
    assert (answer.status_code, answer.json()["code"]) == (400, "wrong_length")
    assert answer.json()["errors"][0]["loc"] == ["body", "features"]


@pytest.mark.parametrize("value", ['"3"', "true", "false", "null", "[]", "{}", "NaN", "Infinity", "-Infinity", "1e400"])
def test_what_is_no_number_is_422_and_names_its_place(server: RunningServer, value: str) -> None:
    answer = raw(server, f'{{"features": [1, 2, {value}, 4]}}')
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"][0]["loc"] == ["body", "features", 2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"features": [1,2,3,4], "scale_factor": 0}', "scale_factor"),
        ('{"features": [1,2,3,4], "scale_factor": -1}', "scale_factor"),
        ('{"features": [1,2,3,4], "scale_factor": NaN}', "scale_factor"),
        ('{"features": [1,2,3,4], "scale_factor": "1"}', "scale_factor"),
        ('{"features": [1,2,3,4], "scale": 1}', "scale"),
        ('{"features": {"a": 1}}', "features"),
        ('{"features": null}', "features"),
    ],
)
def test_a_wrong_field_is_422_and_named(server: RunningServer, body: str, field: str) -> None:
    answer = raw(server, body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", field]


def test_a_text_with_features_is_neither(server: RunningServer) -> None:
    answer = ask(server, {"text": "one", "features": [1, 2, 3, 4]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "features"]


def test_the_model_also_answers_by_its_name(server: RunningServer) -> None:
    answer = httpx.post(f"{server.url}/predict/linear", json={"features": [1, 2, 3, 4]}, timeout=30)
    assert answer.status_code == 200
    assert answer.json()["processing_time_ms"] >= 0
    assert {name: answer.json()[name] for name in ("prediction", "status", "model_used")} == {
        "prediction": 3.0,
        "status": "success",
        "model_used": "linear",
    }


def test_a_text_may_stand_in_the_query_string(server: RunningServer) -> None:
    assert httpx.post(f"{server.url}/predict", params={"text": "one two"}).json()["prediction"] == "one two"
    both = httpx.post(f"{server.url}/predict", params={"text": "one"}, json={"text": "two"})
    assert (both.status_code, both.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("body", [{"features": [1, 2, 3, 4]}, {"feature_1": 1}, {"text": "x"}])
def test_a_model_that_there_is_not_is_404_whatever_it_is_asked(server: RunningServer, body: dict[str, Any]) -> None:
    answer = ask(server, {**body, "model_name": "nobody"})
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model")


def test_a_scale_factor_that_is_null_is_one_that_is_not_given(server: RunningServer) -> None:
    assert ask(server, {"features": [1, 2, 3, 4], "scale_factor": None}).json()["prediction"] == 3.0
