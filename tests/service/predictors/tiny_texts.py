"""Random models of the hub's layout that read the words of `tiny_encoder`, for tests that need no trained one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import BertConfig, BertForSequenceClassification, BertForTokenClassification

from tests.service.predictors.graphs import save
from tests.service.predictors.tiny_encoder import WORDS, write_tokenizer

POSITIONS = 16


def config(labels: Sequence[str], **more: str) -> BertConfig:
    return BertConfig(
        vocab_size=len(WORDS),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=POSITIONS,
        id2label=dict(enumerate(labels)),
        label2id={label: place for place, label in enumerate(labels)},
        initializer_range=0.5,  # the default makes all texts nearly equal
        dtype="float32",
        **more,
    )


def write_text_classifier(folder: Path, labels: Sequence[str] = ("bad", "fair", "good"), **more: str) -> Path:
    torch.manual_seed(2)
    BertForSequenceClassification(config(labels, **more)).save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def write_tagger(folder: Path, tag_of: dict[str, str], tags: Sequence[str]) -> Path:
    """One whose tags are known: a word's embedding is its tag's axis, and nothing else is added to it."""
    torch.manual_seed(2)
    model = BertForTokenClassification(config(tags))
    with torch.no_grad():
        for parameter in model.bert.parameters():
            parameter.zero_()
        for norm in (model.bert.embeddings.LayerNorm, *norms_of(model)):
            norm.weight.fill_(1)
        for word, tag in tag_of.items():
            model.bert.embeddings.word_embeddings.weight[WORDS.index(word), tags.index(tag)] = 1
        model.classifier.weight.copy_(torch.eye(len(tags), 24) * 3)
        model.classifier.bias.zero_()
        model.classifier.bias[tags.index("O")] = 1
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def norms_of(model: BertForTokenClassification) -> list[torch.nn.LayerNorm]:
    layers = model.bert.encoder.layer
    return [norm for layer in layers for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm)]


def write_onnx_classifier(folder: Path, labels: Sequence[str], seed: int = 1) -> Path:
    """A bag of words: each token has scores for each label, and they add up."""
    folder.mkdir()
    scores = np.random.default_rng(seed).normal(size=(len(WORDS), len(labels))).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["scores", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["wide"]),
        helper.make_node("Mul", ["each", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", len(labels)])
    weights = [
        numpy_helper.from_array(scores, "scores"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "middle"),
    ]
    save(folder / "model.onnx", nodes, ids, [out], weights)
    config(labels).save_pretrained(folder)
    write_tokenizer(folder)
    return folder
