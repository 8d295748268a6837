"""The inference server of an exercise: four features, a scale, 400 for another length, and `/health`."""

from typing import Any

import httpx
import pytest

from tests.server import RunningServer

WEIGHTS = [0.25, -0.5, 1.25, 0.0]


def predict(server: RunningServer, body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/predict", json=body, timeout=60)


@pytest.mark.parametrize("features", [[1.0, 2.0, 3.0, 4.0], [0, 0, 0, 0], [-1.5, 2.5, 1e6, 7]])
@pytest.mark.parametrize("scale", [None, 1.0, 0.5, 1000])
def test_the_dot_product_is_scaled(server: RunningServer, features: list[float], scale: float | None) -> None:
    answer = predict(server, {"features": features, **({} if scale is None else {"scale_factor": scale})})
    wanted = sum(weight * feature for weight, feature in zip(WEIGHTS, features, strict=True)) * (scale or 1.0)
    assert (answer.status_code, answer.json()) == (200, {"prediction": wanted, "status": "success"})


def test_another_length_is_400_and_other_garbage_422(server: RunningServer) -> None:
    assert predict(server, {"features": [1, 2, 3]}).status_code == 400
    assert predict(server, {"features": ["a", 2, 3, 4]}).status_code == 422
    assert predict(server, {"features": [1, 2, 3, 4], "scale_factor": 0}).status_code == 422
    assert predict(server, {}).status_code == 422


def test_health_has_the_fields_that_are_asked_for(server: RunningServer) -> None:
    health = httpx.get(f"{server.url}/health").json()
    assert (health["status"], health["engine"]) == ("healthy", "FastAPI-ML")
