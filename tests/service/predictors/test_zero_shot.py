"""Labels that no model was trained for: how often the default one is right, and what decides it."""

import json
from pathlib import Path
from typing import Any

import pytest

from service.models.config import load_catalog
from service.models.store import ModelStore
from service.predictors.errors import InvalidRecord
from service.predictors.limits import RecordLimits
from service.predictors.zero_shot import ZeroShotClassifier, load_zero_shot
from service.settings import default_models_dir
from tests.service.predictors.tiny_encoder import write_encoder

LABELLED = Path(__file__).with_name("labelled")
LIMITS = RecordLimits(max_labels=3, max_label_chars=20)


def tiny(folder: Path, descriptions: dict[str, tuple[str, ...]] | None = None) -> ZeroShotClassifier:
    return load_zero_shot(
        write_encoder(folder / "encoder"),
        name="tiny",
        version="v1",
        labels=("pump", "price"),
        descriptions=descriptions or {},
        limits=LIMITS,
    )


@pytest.fixture(scope="module")
def sentiment() -> ZeroShotClassifier:
    entry = load_catalog()["sentiment"]
    prepared = ModelStore(default_models_dir()).prepared(entry)
    assert prepared, "run `headwater models pull` first"
    assert entry.labels
    return load_zero_shot(
        prepared.path,
        name="sentiment",
        version=prepared.version,
        labels=entry.labels,
        descriptions=entry.descriptions or {},
        limits=RecordLimits(),
    )


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (LABELLED / f"{name}.jsonl").read_text().splitlines()]


def accuracy(model: ZeroShotClassifier, name: str) -> float:
    given = rows(name)
    labels = list(dict.fromkeys(row["label"] for row in given))
    answers = model.predict([model.read({"text": row["text"], "labels": labels}) for row in given])
    right = [answer["prediction"] == row["label"] for answer, row in zip(answers, given, strict=True)]
    return right.count(True) / len(given)


@pytest.mark.model
@pytest.mark.parametrize(("name", "at_least"), [("sentiment", 0.85), ("topics", 0.95), ("support", 0.85)])
def test_the_default_model_is_mostly_right(sentiment: ZeroShotClassifier, name: str, at_least: float) -> None:
    assert accuracy(sentiment, name) >= at_least


@pytest.mark.model
def test_no_description_is_one_of_the_texts_that_it_is_measured_with() -> None:
    descriptions = load_catalog()["sentiment"].descriptions or {}
    said = {sentence.lower() for sentences in descriptions.values() for sentence in sentences}
    assert not said & {row["text"].lower() for row in rows("sentiment")}


def test_company_changes_little(tmp_path: Path) -> None:
    model = tiny(tmp_path)
    records: list[dict[str, Any]] = [
        {"text": "the pump"},
        {"text": "the price of the valve", "labels": ["seal", "valve"]},
        {"text": "seals of the pumps : price " * 5},
    ]
    inputs = [model.read(record) for record in records]
    for together, alone in zip(model.predict(inputs), [model.predict([one])[0] for one in inputs], strict=True):
        assert together["scores"] == pytest.approx(alone["scores"], abs=model.batch_tolerance)


def test_a_description_decides_what_its_label_means(tmp_path: Path) -> None:
    model = tiny(tmp_path, {"pump": ("the price of the valve .",), "price": ("seal",)})
    assert model.predict([model.read({"text": "the price of the valve ."})])[0]["prediction"] == "pump"
    assert model.predict([model.read({"text": "seal"})])[0]["prediction"] == "price"


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ("pump", ("labels",)),
        ([], ("labels",)),
        (["pump"], ("labels",)),
        (["pump", "pump"], ("labels",)),
        (["a", "b", "c", "d"], ("labels",)),
        (["a", ""], ("labels", 1)),
        (["a", 1], ("labels", 1)),
        (["a", "x" * 21], ("labels", 1)),
        (["a", "\0"], ("labels", 1)),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, labels: Any, field: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidRecord) as refused:
        tiny(tmp_path).read({"text": "the pump", "labels": labels})
    assert refused.value.field == field
