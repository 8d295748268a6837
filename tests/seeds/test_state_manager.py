"""A joblib model behind `POST /invocations`: a record of named columns in, `{"predictions"}` or `{"error"}` out."""

import hashlib
from collections.abc import Iterator

import httpx
import joblib
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from service.models.config import load_models
from service.models.store import ModelStore
from tests.server import RunningServer, echo_settings, serving
from tests.service.routes.served import write_models

FRAME = pd.DataFrame({"city": ["Oslo", "Rome", "Oslo", "Rome"], "area": [1.0, 2.0, 3.0, 4.0]})
PRICES = [11.0, 2.0, 13.0, 4.0]  # the area, and ten more in Oslo
COLUMNS = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("seed")
    path = folder / "model.joblib"
    joblib.dump(make_pipeline(COLUMNS, LinearRegression()).fit(FRAME, PRICES), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    models = write_models(
        folder, {"model": {"kind": "tabular", "source": path, "sha256": sha256, "allow_pickle": True}}
    )
    ModelStore(folder / "prepared").pull(load_models(models)["model"])
    with serving(echo_settings(models=models, models_dir=folder / "prepared", data_dir=folder / "data")) as server:
        yield server


@pytest.mark.parametrize(("city", "price"), [("Oslo", 16.0), ("Rome", 6.0)])
def test_a_record_is_predicted(running: RunningServer, city: str, price: float) -> None:
    answer = httpx.post(f"{running.url}/invocations", json={"city": city, "area": 6.0}, timeout=60)
    assert answer.status_code == 200
    assert answer.json() == {"predictions": [pytest.approx(price)]}


@pytest.mark.parametrize("record", [{"city": "Oslo"}, {"city": "Paris", "area": 1.0}, {"city": 1, "area": 1.0}])
def test_what_the_model_cannot_predict_is_an_error_and_never_its_own_words(
    running: RunningServer, record: dict[str, object]
) -> None:
    answer = httpx.post(f"{running.url}/invocations", json=record, timeout=60)
    assert (answer.status_code, set(answer.json())) == (422, {"error"})
    assert "Traceback" not in answer.text


def test_the_container_is_asked_whether_it_is_ready(running: RunningServer) -> None:
    assert httpx.get(f"{running.url}/ping").status_code == 200
