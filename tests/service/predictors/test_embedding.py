"""An encoder's vectors are those of sentence-transformers' definition, whatever stands beside a text in its batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertModel

from service.models.config import load_catalog
from service.models.store import ModelStore
from service.predictors.embedding import BATCH_TOKENS, EmbeddingModel, batches, load_embedding
from service.settings import default_models_dir
from streaming.errors import EngineDown
from tests.service.predictors.tiny_encoder import MAX_TOKENS, WORDS, write_encoder

TEXTS = [
    "The price of the pump.",
    "seal",
    "valves of the pumps of the seals of the valves of the pumps of the seals.",
    "",
]


def load(folder: Path) -> EmbeddingModel:
    return load_embedding(folder, name="tiny", version="v1")


def states_of(folder: Path, text: str) -> tuple[list[int], torch.Tensor]:
    """One text alone through the plain model."""
    words = text.lower().replace(".", " .").split()
    pieces = [part for word in words for part in ([word[:-1], "##s"] if word not in WORDS else [word])]
    ids = [2, *(WORDS.index(piece) for piece in pieces[: MAX_TOKENS - 2]), 3]
    with torch.inference_mode():
        model = BertModel.from_pretrained(folder).eval()
        return ids, model(input_ids=torch.tensor([ids])).last_hidden_state[0]


POOLED: dict[str, Any] = {
    "mean_tokens": lambda states: states.mean(0),
    "cls_token": lambda states: states[0],
    "max_tokens": lambda states: states.max(0).values,
    "mean_sqrt_len_tokens": lambda states: states.sum(0) / len(states) ** 0.5,
    "lasttoken": lambda states: states[-1],
}


@pytest.mark.parametrize("pooling", POOLED)
def test_vectors_are_pooled_as_the_model_says_and_have_length_one(tmp_path: Path, pooling: str) -> None:
    folder = write_encoder(tmp_path / "m", pooling)
    vectors = load(folder).embed(TEXTS, "document")
    for text, vector in zip(TEXTS, vectors, strict=True):
        pooled = POOLED[pooling](states_of(folder, text)[1])
        np.testing.assert_allclose(vector, pooled / pooled.norm(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_company_changes_nothing(tmp_path: Path) -> None:
    model = load(write_encoder(tmp_path / "m"))
    together = model.embed(TEXTS * 3, "document")
    alone = np.concatenate([model.embed([text], "document") for text in TEXTS * 3])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_word_pieces_are_counted_without_marks_and_without_a_cut(tmp_path: Path) -> None:
    model = load(write_encoder(tmp_path / "m"))
    assert model.count_tokens(["", "pump", "pumps.", "seal " * 40]) == [0, 1, 3, 40]
    assert model.max_tokens == MAX_TOKENS


def test_a_prompt_goes_before_the_text_of_its_purpose(tmp_path: Path) -> None:
    prompts = {"config_sentence_transformers.json": {"prompts": {"query": "query: "}}}
    model = load(write_encoder(tmp_path / "m", more=prompts))
    asked = model.embed(["price of the seal"], "query")
    np.testing.assert_allclose(asked, model.embed(["query: price of the seal"], "document"), atol=1e-6)
    assert not np.allclose(asked, model.embed(["price of the seal"], "document"), atol=1e-3)


def test_without_its_files_it_is_the_mean(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "m")
    expected = load(folder).embed(TEXTS[:2], "document")
    (folder / "modules.json").unlink()
    np.testing.assert_allclose(load(folder).embed(TEXTS[:2], "document"), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", [{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}),
        ("1_Pooling/config.json", {"pooling_mode_weightedmean_tokens": True}),
    ],
)
def test_what_is_not_supported_is_said(tmp_path: Path, name: str, content: Any) -> None:
    with pytest.raises(EngineDown, match="not supported"):
        load(write_encoder(tmp_path / "m", more={name: content}))


def test_a_folder_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "m")
    (folder / "config.json").write_text('{"model_type": "unknown-to-anybody"}')
    with pytest.raises(EngineDown):
        load(folder)


@given(st.lists(st.integers(1, 512), max_size=200))
def test_batches_hold_every_text_once_within_the_bound(lengths: list[int]) -> None:
    groups = batches(lengths)
    assert sorted(place for group in groups for place in group) == list(range(len(lengths)))
    assert all(len(group) * max(lengths[place] for place in group) <= BATCH_TOKENS for group in groups)


@pytest.mark.model
def test_the_default_model_gives_the_published_numbers() -> None:
    """Of sentence-transformers/all-MiniLM-L6-v2, for the sentences of its own description."""
    entry = load_catalog()["embeddings"]
    prepared = ModelStore(default_models_dir()).prepared(entry)
    assert prepared is not None, "run `headwater models pull`"
    vectors = load_embedding(prepared.path, name="embeddings", version=prepared.version).embed(
        ["This is an example sentence", "Each sentence is converted"], "document"
    )
    np.testing.assert_allclose(
        vectors[:, :5],
        [
            [0.0676569, 0.06349581, 0.0487131, 0.07930496, 0.0374480],
            [0.0864386, 0.10276283, 0.0053946, 0.00204447, -0.0099634],
        ],
        atol=1e-4,
    )
    assert vectors.shape == (2, 384)


@pytest.mark.parametrize("pooling", POOLED)
def test_the_quick_copy_gives_nearly_the_same_vectors_and_leaves_the_model_alone(tmp_path: Path, pooling: str) -> None:
    model = load(write_encoder(tmp_path / "m", pooling))
    before = model.embed(TEXTS, "document")
    quick = model.quick_copy().embed(TEXTS, "document")
    assert quick.dtype == np.float32
    np.testing.assert_allclose((quick * before).sum(1), 1, atol=1e-2)
    np.testing.assert_array_equal(model.embed(TEXTS, "document"), before)
