"""Any classifier or tagger of the hub's layout, from safetensors or ONNX: here small ones that the test makes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification

from service.predictors.alone import run_alone
from service.predictors.classifier import TextClassifier, load_text_classifier
from service.predictors.embedding import load_embedding
from service.predictors.errors import InvalidRecord, PredictionFailed
from service.predictors.limits import RecordLimits
from service.predictors.tagger import Tagger, load_tagger
from streaming.errors import EngineDown
from tests.service.predictors.tiny_encoder import WORDS, write_encoder
from tests.service.predictors.tiny_texts import POSITIONS, write_onnx_classifier, write_tagger, write_text_classifier

LIMITS = RecordLimits(max_text_chars=500)
TEXTS = ["The price of the pump.", "seal", "valves of the pumps: price " * 9, "of the the the valve"]
TAGS = ["O", "B-PART", "I-PART", "B-MONEY"]
TAG_OF = {"pump": "B-PART", "seal": "I-PART", "price": "B-MONEY", "valve": "B-PART"}


def classifier(folder: Path) -> TextClassifier:
    return load_text_classifier(folder, name="tiny", version="v1", limits=LIMITS)


def tagger(folder: Path) -> Tagger:
    return load_tagger(write_tagger(folder, TAG_OF, TAGS), name="tiny", version="v1", limits=LIMITS)


def entities(model: Tagger, text: str) -> list[tuple[str, str]]:
    found = model.predict([model.read({"text": text})])[0]["entities"]
    for one in found:
        assert text[one["start"] : one["end"]] == one["text"]
        assert 0.5 < one["score"] <= 1
    return [(one["text"], one["label"]) for one in found]


def test_scores_are_those_of_the_plain_model(tmp_path: Path) -> None:
    model = classifier(write_text_classifier(tmp_path / "model"))
    plain = BertForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    ids = [2, *(WORDS.index(word) for word in ("the", "price", "of", "the", "pump", ".")), 3]
    with torch.inference_mode():
        wanted = plain(input_ids=torch.tensor([ids])).logits[0].softmax(-1).tolist()
    answer = model.predict(["The price of the pump."])[0]
    assert list(answer["scores"].values()) == pytest.approx(wanted, abs=1e-5)
    assert answer["prediction"] == max(answer["scores"], key=answer["scores"].get)
    assert answer["confidence"] == max(answer["scores"].values())


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_company_changes_little_and_order_is_kept(tmp_path: Path, kind: str) -> None:
    write = write_text_classifier if kind == "safetensors" else write_onnx_classifier
    model = classifier(write(tmp_path / "model", ("bad", "fair", "good")))
    together, alone = model.predict(TEXTS), [model.predict([text])[0] for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=model.batch_tolerance)
    assert len({round(one["confidence"], 4) for one in alone}) == len(TEXTS)  # or the order is not seen


def test_several_labels_may_be_true(tmp_path: Path) -> None:
    one = classifier(write_text_classifier(tmp_path / "one")).predict(TEXTS)
    folder = write_text_classifier(tmp_path / "several", problem_type="multi_label_classification")
    several = classifier(folder).predict(TEXTS)
    assert all(sum(answer["scores"].values()) == pytest.approx(1) for answer in one)
    assert any(sum(answer["scores"].values()) > 1.01 for answer in several)


def test_a_text_is_read_with_its_bounds(tmp_path: Path) -> None:
    model = classifier(write_text_classifier(tmp_path / "model"))
    assert model.input_schema["properties"]["text"]["maxLength"] == 500
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "text"), ({"text": " "}, "text"), ({"text": 1}, "text"), ({"text": "x" * 501}, "text"),
        ({"text": "a\0"}, "text"), ({"text": "\ud800"}, "text"), ({"text": "x", "labels": ["a"]}, "labels"),
    ]  # fmt: skip
    for record, field in wrong:
        with pytest.raises(InvalidRecord) as refused:
            model.read(record)
        assert refused.value.field == (field,)


def test_entities_have_exact_places(tmp_path: Path) -> None:
    model = tagger(tmp_path / "model")
    assert entities(model, "The price of the  pump seals: 🌊 valve.") == [
        ("price", "MONEY"),
        ("pump seals", "PART"),
        ("valve", "PART"),
    ]
    assert entities(model, "of the") == []


def test_a_long_text_is_read_in_windows_and_loses_nothing(tmp_path: Path) -> None:
    model = tagger(tmp_path / "model")
    text = "the pump of the valve : price . " * 12
    assert model.model.max_tokens == POSITIONS
    found = entities(model, text)
    assert found == [("pump", "PART"), ("valve", "PART"), ("price", "MONEY")] * 12


def test_texts_that_come_together_are_tagged_as_alone(tmp_path: Path) -> None:
    model = tagger(tmp_path / "model")
    texts = ["the pump " * 20, "price", "of the"]
    together = model.predict(texts)
    for text, answer in zip(texts, together, strict=True):
        alone = model.predict([text])[0]["entities"]
        assert [{**one, "score": 0} for one in answer["entities"]] == [{**one, "score": 0} for one in alone]


def test_what_is_no_such_model_is_refused_in_words(tmp_path: Path) -> None:
    folder = write_text_classifier(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(EngineDown, match="cannot be opened for its task"):
        classifier(folder)
    graph = write_onnx_classifier(tmp_path / "graph", ("a", "b"))
    (graph / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(EngineDown, match="cannot be opened as an ONNX graph"):
        classifier(graph)


def spoil(folder: Path) -> Path:
    """As a training that went wrong leaves its weights."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    save_file({name: weight * float("nan") for name, weight in weights.items()}, file, {"format": "pt"})
    return folder


def test_weights_that_give_no_numbers_are_a_failure_and_no_label(tmp_path: Path) -> None:
    limits = RecordLimits()
    classifier = load_text_classifier(
        spoil(write_text_classifier(tmp_path / "c")), name="c", version="1", limits=limits
    )
    tagger = load_tagger(
        spoil(write_tagger(tmp_path / "t", {"pump": "B-PART"}, ["O", "B-PART"])), name="t", version="1", limits=limits
    )
    encoder = load_embedding(spoil(write_encoder(tmp_path / "e")), name="e", version="1")
    for model in (classifier, tagger, encoder):
        with pytest.raises(PredictionFailed):
            run_alone(model, "the pump")
