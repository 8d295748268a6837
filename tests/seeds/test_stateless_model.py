"""A model from a pickle that answers named features: equal requests get equal answers, however many at once."""

import hashlib
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from service.models.config import load_models
from service.models.store import ModelStore
from tests.server import RunningServer, echo_settings, serving
from tests.service.routes.served import write_models

ROWS = np.random.default_rng(7).normal(size=(200, 2))
FITTED = RandomForestRegressor(10, random_state=1).fit(ROWS, ROWS @ [2, -1])
WORKERS = 16


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("seed")
    pickled = folder / "model_v1.pkl"
    pickled.write_bytes(pickle.dumps(FITTED))
    sha256 = hashlib.sha256(pickled.read_bytes()).hexdigest()
    entry = {"kind": "tabular", "source": pickled, "sha256": sha256, "allow_pickle": True}
    models = write_models(folder, {"model": entry})
    ModelStore(folder / "prepared").pull(load_models(models)["model"])
    with serving(echo_settings(models=models, models_dir=folder / "prepared", data_dir=folder / "data")) as server:
        yield server


def predicted(url: str, row: list[float]) -> float:
    answer = httpx.post(f"{url}/predict", json={"feature_1": row[0], "feature_2": row[1]}, timeout=60)
    assert answer.status_code == 200, answer.text
    prediction: float = answer.json()["prediction"]
    return prediction


def test_every_answer_is_that_of_the_model_alone(running: RunningServer) -> None:
    rows = ROWS[:40].tolist() * 3
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(lambda row: predicted(running.url, row), rows))
    assert answers == [float(FITTED.predict([row])[0]) for row in rows]


def test_a_missing_feature_is_told_and_not_a_failure(running: RunningServer) -> None:
    answer = httpx.post(f"{running.url}/predict", json={"feature_1": 1.0}, timeout=60)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"loc": ["body", "feature_2"], "msg": "Field required", "type": "missing"}]
