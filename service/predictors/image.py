"""Pictures to labels with any classifier in the layout of model hubs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from PIL.Image import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from service.predictors.picture import INPUT_SCHEMA, OUTPUT_SCHEMA, Finding, Picture, Seen, read_picture, refused
from service.predictors.predictor import JsonSchema, Output, Record
from streaming.errors import EngineDown
from uploads.documents.limits import DocumentLimits
from uploads.documents.picture import opened, upright
from uploads.errors import UploadsError

LABELS_MAX = 5


@dataclass(frozen=True, slots=True)
class ImageClassifier:
    """A `OneShot`. Picture by picture: they come in all sizes, and one decoded at a time bounds the memory."""

    name: str
    version: str
    model: Any
    processor: Any
    limits: DocumentLimits = field(default_factory=DocumentLimits)
    kind: Literal["image"] = "image"
    batch_tolerance: float = 0.0

    @property
    def size_bytes(self) -> int:
        return sum(weight.nbytes for weight in (*self.model.parameters(), *self.model.buffers()))

    @property
    def input_schema(self) -> JsonSchema:
        return INPUT_SCHEMA

    @property
    def output_schema(self) -> JsonSchema:
        return OUTPUT_SCHEMA

    def read(self, record: Record) -> Picture:
        return read_picture(record)

    def predict(self, inputs: Sequence[Picture]) -> Sequence[Output]:
        return [self._look_at(picture).told() for picture in inputs]

    def _look_at(self, picture: Picture) -> Seen:
        try:
            with picture.file() as path, opened(path, self.limits) as image:
                return self.classify(upright(image, self.limits).convert("RGB"))
        except UploadsError as error:
            raise refused(error) from error

    def classify(self, picture: Image) -> Seen:
        with torch.inference_mode():
            inputs = self.processor(images=picture, return_tensors="pt")
            probabilities = self.model(**inputs).logits[0].float().softmax(-1)
            if not torch.isfinite(probabilities).all():
                raise ArithmeticError("the model's weights give no numbers")
            best = probabilities.topk(min(LABELS_MAX, len(probabilities)))
        labels = [str(self.model.config.id2label[int(place)]) for place in best.indices]
        findings = [Finding(label, float(share)) for label, share in zip(labels, best.values, strict=True)]
        return Seen(findings[0].text, findings)


def load_image_classifier(path: Path, *, name: str, version: str, limits: DocumentLimits) -> ImageClassifier:
    """Blocks. Raises `EngineDown`."""
    try:
        model = AutoModelForImageClassification.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        processor = AutoImageProcessor.from_pretrained(
            path, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EngineDown(f"The model {name} cannot be opened as a classifier of pictures.") from error
    return ImageClassifier(name, version, model.eval(), processor, limits)
