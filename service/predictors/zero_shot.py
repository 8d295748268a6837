"""Texts to any labels without training: the label whose description an encoder finds most alike.

A label is as likely as its descriptions are near, the nearest counting most. One without a description is put into a
few sentences, and how near these are to texts that say nothing is taken off: some labels are near to everything.
`docs/experiments.md` has what else was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from service.predictors.classifier import softmax
from service.predictors.embedding import EmbeddingModel, Vectors, load_embedding
from service.predictors.fields import Field, list_of, refuse_misnamed, text_of, wrong
from service.predictors.limits import RecordLimits
from service.predictors.predictor import JsonSchema, Output, Record
from service.predictors.scores import scored, scores_schema
from service.predictors.text_record import text_schema

Descriptions: TypeAlias = Mapping[str, tuple[str, ...]]
Scores: TypeAlias = NDArray[np.float32]
SENTENCES = ("{}", "This is {}.", "This text is about {}.", "The topic is {}.", "It is {}.", "A {} message.")
NOTHING_SAID = ("N/A", "This is a text.", "Something happened.", "It is what it is.", "The thing is here.")
SHARPNESS = 10.0  # how much more the nearest description counts
LABELS_REMEMBERED = 1024
BATCH_TOLERANCE = 1e-4  # of a probability: sums of float32 in another order


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What is known of each label: its descriptions as vectors, and how near they are to nothing. Remembers a few."""

    encoder: EmbeddingModel
    descriptions: Descriptions
    _found: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_found", lru_cache(LABELS_REMEMBERED)(self._describe))

    def score(self, texts: Vectors, label: str) -> Scores:
        vectors, nearness_to_nothing = self._found(label)
        return nearness(texts, vectors) - np.float32(nearness_to_nothing)

    def _describe(self, label: str) -> tuple[Vectors, float]:
        if label in self.descriptions:
            return self.encoder.embed(self.descriptions[label], "query"), 0.0
        vectors = self.encoder.embed([sentence.format(label) for sentence in SENTENCES], "query")
        return vectors, float(nearness(self.encoder.embed(NOTHING_SAID, "query"), vectors).mean())


@dataclass(frozen=True, slots=True)
class ZeroShotClassifier:
    """A `OneShot`. `labels` are those of a request that names none."""

    name: str
    version: str
    labels: tuple[str, ...]
    known: Labels
    limits: RecordLimits = field(default_factory=RecordLimits)
    kind: Literal["classifier"] = "classifier"
    batch_tolerance: float = BATCH_TOLERANCE

    @property
    def size_bytes(self) -> int:
        return self.known.encoder.size_bytes

    @property
    def input_schema(self) -> JsonSchema:
        schema = text_schema(self.limits, "The staff was friendly and quick.")
        label = {"type": "string", "minLength": 1, "maxLength": self.limits.max_label_chars}
        most = self.limits.max_labels
        labels = {"type": ["array", "null"], "items": label, "minItems": 2, "maxItems": most, "uniqueItems": True}
        return {**schema, "properties": {**schema["properties"], "labels": {**labels, "default": list(self.labels)}}}

    @property
    def output_schema(self) -> JsonSchema:
        return scores_schema(self.labels)

    def read(self, record: Record) -> Question:
        refuse_misnamed(record, ("text", "labels"), ("text",))
        text = text_of(record["text"], ("text",), self.limits.max_text_chars)
        labels = record.get("labels")
        return Question(text, self.labels if labels is None else self._labels(labels))

    def _labels(self, given: Any) -> tuple[str, ...]:
        place: Field = ("labels",)
        listed = list_of(given, place)
        if not 2 <= len(listed) <= self.limits.max_labels:
            raise wrong(place, f"List should have 2 to {self.limits.max_labels} items", "wrong_count")
        labels = tuple(text_of(one, (*place, n), self.limits.max_label_chars) for n, one in enumerate(listed))
        if len(set(labels)) < len(labels):
            raise wrong(place, "Each label should stand there once", "not_unique")
        return labels

    def predict(self, inputs: Sequence[Question]) -> Sequence[Output]:
        vectors = self.known.encoder.embed([one.text for one in inputs], "query")
        return [self._answer(one, vector) for one, vector in zip(inputs, vectors, strict=True)]

    def _answer(self, question: Question, vector: Vectors) -> Output:
        scores = np.array([self.known.score(vector[None], label)[0] for label in question.labels])
        return scored(question.labels, softmax(scores).tolist())


def nearness(texts: Vectors, descriptions: Vectors) -> Scores:
    """Of each text, as the logarithm of a likelihood: one near description weighs more than many far ones."""
    found: Scores = np.log(np.exp(SHARPNESS * (texts @ descriptions.T)).mean(1))
    return found


def load_zero_shot(
    path: Path, *, name: str, version: str, labels: tuple[str, ...], descriptions: Descriptions, limits: RecordLimits
) -> ZeroShotClassifier:
    """Blocks for a second or two. Raises `EngineDown`."""
    encoder = load_embedding(path, name=name, version=version)
    known = Labels(encoder, descriptions)
    for label in labels:
        known.score(np.zeros((1, encoder.dimensions), np.float32), label)  # their vectors are there from the start
    return ZeroShotClassifier(name, version, labels, known, limits)
