"""What a model of pictures is asked and what it answers, whichever it is."""

import base64
import binascii
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile

from service.predictors.errors import InvalidRecord
from service.predictors.fields import refuse_misnamed, wrong
from service.predictors.predictor import JsonSchema, Output, Record
from uploads.errors import UploadsError

FIELD = "image"
INPUT_SCHEMA: JsonSchema = {
    "type": "object",
    "properties": {FIELD: {"type": "string", "contentEncoding": "base64", "minLength": 4}},
    "required": [FIELD],
    "additionalProperties": False,
}
OUTPUT_SCHEMA: JsonSchema = {
    "type": "object",
    "properties": {
        "prediction": {"type": "string"},
        "details": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                },
            },
        },
    },
    "required": ["prediction", "details"],
}


@dataclass(frozen=True, slots=True)
class Picture:
    """The same bytes are the same picture, wherever they lie: in a file of somebody's, or in memory."""

    sha256: str
    path: Path | None = field(default=None, compare=False)
    content: bytes = field(default=b"", compare=False, repr=False)

    @contextmanager
    def file(self) -> Iterator[Path]:
        if self.path is not None:
            yield self.path
            return
        with NamedTemporaryFile(prefix="headwater-picture-") as file:
            file.write(self.content)
            file.flush()
            yield Path(file.name)


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of text that was read, or a label; `confidence` is the model's own, from 0 to 1."""

    text: str
    confidence: float


@dataclass(frozen=True, slots=True)
class Seen:
    """`prediction` in one string; the findings it is made of, the first or the likeliest first."""

    prediction: str
    findings: Sequence[Finding]

    def told(self) -> Output:
        details = [{"text": one.text, "confidence": round(one.confidence, 6)} for one in self.findings]
        return {"prediction": self.prediction, "details": details}


def read_picture(record: Record) -> Picture:
    refuse_misnamed(record, (FIELD,), (FIELD,))
    given = record[FIELD]
    if not isinstance(given, str):
        raise wrong((FIELD,), "Input should be a valid string", "string_type")
    try:
        content = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        raise wrong((FIELD,), "Input should be a picture in base64", "base64") from None
    return Picture(hashlib.sha256(content).hexdigest(), content=content)


def refused(error: UploadsError) -> InvalidRecord:
    """A file that is no picture, or too large a one; its code says which."""
    return InvalidRecord((FIELD,), error.message, error.code)
