"""Texts to labels with any sequence classifier of the hub's layout."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

from service.predictors.limits import RecordLimits
from service.predictors.predictor import JsonSchema, Output, Record
from service.predictors.scores import scored, scores_schema
from service.predictors.text_record import read_text, text_schema
from service.predictors.token_model import Logits, TokenModel, open_token_model

Shares: TypeAlias = NDArray[np.float64]
BATCH_TOLERANCE = 1e-4  # of a probability: sums of float32 in another order


@dataclass(frozen=True, slots=True)
class TextClassifier:
    """A `OneShot`. A text that is longer than the model reads is cut."""

    name: str
    version: str
    model: TokenModel
    limits: RecordLimits = field(default_factory=RecordLimits)
    kind: Literal["classifier"] = "classifier"
    batch_tolerance: float = BATCH_TOLERANCE

    @property
    def size_bytes(self) -> int:
        return self.model.size_bytes

    @property
    def input_schema(self) -> JsonSchema:
        return text_schema(self.limits, "The staff was friendly and quick.")

    @property
    def output_schema(self) -> JsonSchema:
        return scores_schema(self.model.labels)

    def read(self, record: Record) -> str:
        return read_text(record, self.limits)

    def predict(self, inputs: Sequence[str]) -> Sequence[Output]:
        encodings = self.model.tokenizer.encode_batch_fast(list(inputs))
        return [scored(self.model.labels, self._shares(row)) for row in self.model.logits(encodings)]

    def _shares(self, logits: Logits) -> list[float]:
        """Independent of each other where several labels may be true, or where there is only one."""
        shares = sigmoid(logits) if self.model.is_multi_label or len(logits) == 1 else softmax(logits)
        found: list[float] = shares.tolist()
        return found


def sigmoid(logits: Logits) -> Shares:
    shares: Shares = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return shares


def softmax(logits: Logits) -> Shares:
    grown = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    shares: Shares = grown / grown.sum(-1, keepdims=True)
    return shares


def load_text_classifier(path: Path, *, name: str, version: str, limits: RecordLimits) -> TextClassifier:
    """Blocks for a second or two. Raises `EngineDown`."""
    model = open_token_model(path, AutoModelForSequenceClassification, name)
    return TextClassifier(name, version, model, limits)
