"""Tabular models: named features in and out, from skops files, allowed pickles and ONNX graphs."""

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from service.predictors.errors import InvalidRecord, WrongLength
from service.predictors.onnx_estimator import load_onnx
from service.predictors.sklearn_estimator import is_rowwise, load_pickle, load_skops, made_of
from service.predictors.tabular import TabularModel
from streaming.errors import EngineDown
from tests.service.predictors.graphs import write_classifier, write_counter, write_regressor

ROWS = np.random.default_rng(1).normal(size=(60, 2))
NAMES = np.array(["bad", "good"])[(ROWS[:, 0] > 0).astype(int)]
CITIES = pd.DataFrame({"city": ["Oslo", "Rome"] * 10, "area": [float(n) for n in range(20)]})
PRICES = [float(n) for n in range(20)]


def model_of(estimator: Any, folder: Path, features: list[str] | None = None) -> TabularModel:
    """Through a file, as it is served."""
    path = folder / "model.skops"
    skops.io.dump(estimator, path)
    trusted = skops.io.get_untrusted_types(file=path)
    return TabularModel("wine", "v1", load_skops(path, "wine", trusted, features))


def predicted(model: TabularModel, record: dict[str, Any]) -> Any:
    return model.predict([model.read(record)])[0]


def test_a_classifier_gives_a_class_and_probabilities(tmp_path: Path) -> None:
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, NAMES)
    model = model_of(fitted, tmp_path)
    answer = predicted(model, {"feature_1": 2, "feature_2": 0.5})
    assert answer["prediction"] == "good"
    assert answer["probabilities"] == dict(
        zip(["bad", "good"], fitted.predict_proba([[2, 0.5]])[0].tolist(), strict=True)
    )
    assert predicted(model, {"features": [2, 0.5]}) == answer


def test_a_regressor_gives_a_number(tmp_path: Path) -> None:
    model = model_of(LinearRegression().fit(ROWS, ROWS @ [2, 3] + 1), tmp_path)
    assert predicted(model, {"feature_1": 1, "feature_2": 1}) == {"prediction": pytest.approx(6)}


def test_columns_keep_the_names_and_kinds_that_the_model_was_fitted_with(tmp_path: Path) -> None:
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"]), ("area", StandardScaler(), ["area"])])
    model = model_of(make_pipeline(columns, LinearRegression()).fit(CITIES, PRICES), tmp_path)
    area = predicted(model, {"city": "Rome", "area": 5.0})["prediction"]
    assert area == pytest.approx(5)
    city = model.input_schema["anyOf"][0]["properties"]["city"]
    assert city == {"type": "string", "enum": ["Oslo", "Rome"]}
    with pytest.raises(InvalidRecord) as refused:
        model.read({"city": "Paris", "area": 5.0})
    assert refused.value.field == ("city",)
    with pytest.raises(InvalidRecord):
        model.read({"city": "Rome", "area": "5"})


def test_a_pipeline_that_starts_from_texts_takes_a_text(tmp_path: Path) -> None:
    fitted = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(["good day", "bad day"] * 5, [1, 0] * 5)
    assert predicted(model_of(fitted, tmp_path), {"text": "a good one"})["prediction"] == 1


def test_missing_values_are_taken_where_the_model_takes_them(tmp_path: Path) -> None:
    takes = model_of(HistGradientBoostingRegressor().fit(ROWS, ROWS[:, 0]), tmp_path)
    assert isinstance(predicted(takes, {"feature_1": None, "feature_2": 1})["prediction"], float)
    with pytest.raises(InvalidRecord):
        model_of(LinearRegression().fit(ROWS, ROWS[:, 0]), tmp_path).read({"feature_1": None, "feature_2": 1})


def test_misnamed_features_are_all_named(tmp_path: Path) -> None:
    model = model_of(LinearRegression().fit(ROWS, ROWS[:, 0]), tmp_path)
    with pytest.raises(InvalidRecord) as refused:
        model.read({"feature_1": 1, "feature_3": 2, "other": 3})
    told = {one.field: one.kind for one in (refused.value, *refused.value.others)}
    assert told == {("feature_2",): "missing", ("feature_3",): "extra_forbidden", ("other",): "extra_forbidden"}


@pytest.mark.parametrize("value", ["1", True, None, [], {}, float("nan"), float("inf"), 1e39, 10**400])
def test_what_is_no_number_is_refused_by_name(tmp_path: Path, value: Any) -> None:
    model = model_of(LinearRegression().fit(ROWS, ROWS[:, 0]), tmp_path)
    for record, field in (
        ({"feature_1": 1, "feature_2": value}, ("feature_2",)),
        ({"features": [1, value]}, ("features", 1)),
    ):
        with pytest.raises(InvalidRecord) as refused:
            model.read(record)
        assert refused.value.field == field


def test_a_list_of_another_length_is_refused(tmp_path: Path) -> None:
    model = model_of(LinearRegression().fit(ROWS, ROWS[:, 0]), tmp_path)
    for features in ([], [1], [1, 2, 3]):
        with pytest.raises(WrongLength):
            model.read({"features": features})


def test_the_configuration_may_name_the_features(tmp_path: Path) -> None:
    fitted = LinearRegression().fit(ROWS, ROWS[:, 0])
    model = model_of(fitted, tmp_path, ["width", "height"])
    assert predicted(model, {"width": 3, "height": 1})["prediction"] == pytest.approx(3)
    with pytest.raises(EngineDown, match="takes 2 features, and the configuration names 3"):
        model_of(fitted, tmp_path, ["a", "b", "c"])


FOREST = RandomForestClassifier(8, random_state=1, n_jobs=2).fit(ROWS, NAMES)
LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, NAMES)


@pytest.mark.parametrize("fitted", [FOREST, LOGISTIC], ids=["forest", "logistic"])
@settings(deadline=None, max_examples=30)
@given(rows=st.lists(st.tuples(st.floats(-1e30, 1e30), st.floats(-9, 9)), min_size=1, max_size=9))
def test_company_changes_no_bit(fitted: Any, tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    model = TabularModel("wine", "v1", made_of(fitted, "wine", Path(__file__), None))
    assert model.predict(rows) == [model.predict([row])[0] for row in rows]


def test_only_what_stays_within_a_row_is_computed_many_rows_at_once() -> None:
    assert is_rowwise(FOREST)
    assert is_rowwise(make_pipeline(StandardScaler(), FOREST))
    assert not is_rowwise(LOGISTIC)


def test_a_type_that_nobody_trusts_is_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.skops"
    skops.io.dump(FOREST, path)
    with pytest.raises(EngineDown, match=r"trusted_types does not name: sklearn\.tree\._tree\.Tree"):
        load_skops(path, "wine", [], None)


class Runs:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def test_a_pickle_runs_only_when_its_checksum_is_allowed(tmp_path: Path) -> None:
    path, made = tmp_path / "model.pkl", tmp_path / "made"
    path.write_bytes(pickle.dumps(Runs(made)))
    for allowed in (None, "0" * 64):
        with pytest.raises(EngineDown, match="sha256 is not the one"):
            load_pickle(path, "wine", allowed, None)
    assert not made.exists()
    with pytest.raises(EngineDown, match="holds no estimator"):
        load_pickle(path, "wine", hashlib.sha256(path.read_bytes()).hexdigest(), None)
    assert made.exists()  # or the test proves nothing


@pytest.mark.parametrize("dump", [joblib.dump, lambda model, path: path.write_bytes(pickle.dumps(model))])
def test_joblib_and_pickle_are_read(tmp_path: Path, dump: Any) -> None:
    dump(LOGISTIC, tmp_path / "model")
    sha256 = hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest()
    model = TabularModel("wine", "v1", load_pickle(tmp_path / "model", "wine", sha256, None))
    assert predicted(model, {"feature_1": 2, "feature_2": 0})["prediction"] == "good"


def test_an_onnx_graph_with_one_input_takes_rows(tmp_path: Path) -> None:
    path = write_regressor(tmp_path / "model.onnx", [2.0, 3.0], 1.0)
    model = TabularModel("wine", "v1", load_onnx(path, "wine", None, None))
    assert predicted(model, {"feature_1": 1, "feature_2": 1}) == {"prediction": 6.0}
    named = TabularModel("wine", "v1", load_onnx(path, "wine", ["width", "height"], None))
    assert predicted(named, {"width": 1, "height": 1}) == {"prediction": 6.0}


def test_an_onnx_graph_with_named_inputs_takes_names_and_gives_classes(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "model.onnx", ["cold", "warm"])
    record = {"cold": 0.0, "warm": 1.0}
    counted = predicted(TabularModel("wine", "v1", load_onnx(path, "wine", None, None)), record)
    assert counted["prediction"] == 1
    assert counted["probabilities"] == {"0": pytest.approx(0.26894, abs=1e-5), "1": pytest.approx(0.73106, abs=1e-5)}
    named = predicted(TabularModel("wine", "v1", load_onnx(path, "wine", None, ["winter", "summer"])), record)
    assert named["prediction"] == "summer"
    assert set(named["probabilities"]) == {"winter", "summer"}


def test_a_whole_number_is_asked_for_where_the_graph_has_one(tmp_path: Path) -> None:
    model = TabularModel("wine", "v1", load_onnx(write_counter(tmp_path / "model.onnx"), "wine", None, None))
    assert predicted(model, {"feature_1": 3}) == {"prediction": 3}
    for value in (1.5, 2**31):
        with pytest.raises(InvalidRecord):
            model.read({"feature_1": value})


def test_what_is_no_graph_of_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08nothing")
    with pytest.raises(EngineDown, match="cannot be opened as an ONNX graph"):
        load_onnx(tmp_path / "model.onnx", "wine", None, None)


def test_an_answer_that_is_not_finite_is_the_records_fault(tmp_path: Path) -> None:
    path = write_regressor(tmp_path / "model.onnx", [3e38, 3e38], 0.0)
    model = TabularModel("wine", "v1", load_onnx(path, "wine", None, None))
    with pytest.raises(InvalidRecord, match="no finite answer"):
        predicted(model, {"feature_1": 3e38, "feature_2": 1})
