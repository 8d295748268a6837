"""Names and other entities in texts, with any token classifier of the hub's layout."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tokenizers import Encoding
from transformers import AutoModelForTokenClassification

from service.predictors.classifier import softmax
from service.predictors.limits import RecordLimits
from service.predictors.predictor import JsonSchema, Output, Record
from service.predictors.tags import Entity, Word, entities_of
from service.predictors.text_record import read_text, text_schema
from service.predictors.token_model import Logits, TokenModel, open_token_model

BATCH_TOLERANCE = 1e-4  # of a probability: sums of float32 in another order
OVERLAP_SHARE = 4  # windows over a long text share a quarter of their tokens, so that each word has its neighbours
ENTITY_SCHEMA: JsonSchema = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "label": {"type": "string"},
        "start": {"type": "integer", "minimum": 0},
        "end": {"type": "integer", "minimum": 0},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["text", "label", "start", "end", "score"],
}


@dataclass(frozen=True, slots=True)
class Tagger:
    """A `OneShot`. A text that is longer than the model reads is read in windows that overlap."""

    name: str
    version: str
    model: TokenModel
    limits: RecordLimits = field(default_factory=RecordLimits)
    kind: Literal["tagger"] = "tagger"
    batch_tolerance: float = BATCH_TOLERANCE

    @property
    def size_bytes(self) -> int:
        return self.model.size_bytes

    @property
    def input_schema(self) -> JsonSchema:
        return text_schema(self.limits, "Ada Lovelace was born in London.")

    @property
    def output_schema(self) -> JsonSchema:
        entities = {"type": "array", "items": ENTITY_SCHEMA}
        return {"type": "object", "properties": {"entities": entities}, "required": ["entities"]}

    def read(self, record: Record) -> str:
        return read_text(record, self.limits)

    def predict(self, inputs: Sequence[str]) -> Sequence[Output]:
        windows = [windows_of(encoding) for encoding in self.model.tokenizer.encode_batch(list(inputs))]
        logits = iter(self.model.logits([window for several in windows for window in several]))
        return [
            {"entities": [told(text, one) for one in entities_of(self._words(text, several, logits))]}
            for text, several in zip(inputs, windows, strict=True)
        ]

    def _words(self, text: str, windows: Sequence[Encoding], logits: Iterator[Logits]) -> Iterator[Word]:
        """Of what stands in two windows, each gives the half that is farther from its own edge."""
        begin = 0
        for window, following in zip(windows, [*windows[1:], None], strict=True):
            end = len(text) + 1 if following is None else middle_of_overlap(window, following)
            for word in self._words_of(text, window, next(logits)):
                if begin <= word.start < end:
                    yield word
            begin = end

    def _words_of(self, text: str, window: Encoding, logits: Logits) -> Iterator[Word]:
        """A word is what its first token says: that is what such models are trained for."""
        shares = softmax(logits)
        best = shares.argmax(-1)
        places: dict[int, list[int]] = {}
        for place, word in enumerate(window.word_ids):
            if word is not None:
                places.setdefault(word, []).append(place)
        for tokens in places.values():
            start, end = trimmed(text, window.offsets[tokens[0]][0], window.offsets[tokens[-1]][1])
            first = tokens[0]
            if start < end:
                yield Word(start, end, self.model.labels[best[first]], float(shares[first, best[first]]))


def windows_of(encoding: Encoding) -> list[Encoding]:
    return [encoding, *encoding.overflowing]


def middle_of_overlap(window: Encoding, following: Encoding) -> int:
    ends = [end for _, end in window.offsets if end]
    starts = [start for start, end in following.offsets if end]
    return (max(ends) + min(starts)) // 2


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Some tokenizers count the space before a word as a part of it."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def told(text: str, entity: Entity) -> dict[str, Any]:
    return {
        "text": text[entity.start : entity.end],
        "label": entity.label,
        "start": entity.start,
        "end": entity.end,
        "score": entity.score,
    }


def load_tagger(path: Path, *, name: str, version: str, limits: RecordLimits) -> Tagger:
    """Blocks for a second or two. Raises `EngineDown`."""
    model = open_token_model(path, AutoModelForTokenClassification, name)
    model.tokenizer.enable_truncation(model.max_tokens, stride=max(1, model.max_tokens // OVERLAP_SHARE))
    return Tagger(name, version, model, limits)
