"""Pictures to labels with any classifier in the layout of model hubs."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.models.on_demand import OnDemand
from service.predictors.picture import Finding, Seen
from streaming.errors import EngineDown, EngineUnavailable
from uploads.documents.limits import DocumentLimits
from uploads.errors import ModelUnavailable

if TYPE_CHECKING:
    from PIL.Image import Image

LABELS_MAX = 5


@dataclass(frozen=True, slots=True)
class ImageClassifier:
    """Immutable. Blocks: call it in a thread."""

    name: str
    version: str
    model: Any
    processor: Any

    def classify(self, picture: "Image") -> Seen:
        import torch  # noqa: PLC0415  slow to import, and loaded already by whoever made this

        with torch.inference_mode():
            inputs = self.processor(images=picture, return_tensors="pt")
            probabilities = self.model(**inputs).logits[0].float().softmax(-1)
            best = probabilities.topk(min(LABELS_MAX, len(probabilities)))
        labels = [str(self.model.config.id2label[int(place)]) for place in best.indices]
        findings = [Finding(label, float(share)) for label, share in zip(labels, best.values, strict=True)]
        return Seen(findings[0].text, findings)


def load_classifier(path: Path, *, name: str, version: str) -> ImageClassifier:
    """Blocks. Raises `EngineDown`."""
    import torch  # noqa: PLC0415  slow to import
    from transformers import AutoImageProcessor, AutoModelForImageClassification  # noqa: PLC0415

    try:
        model = AutoModelForImageClassification.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
        processor = AutoImageProcessor.from_pretrained(
            path, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise EngineDown(f"The model {name} cannot be opened as a classifier of pictures.") from error
    return ImageClassifier(name, version, model.eval(), processor)


class OnDemandClassifier:
    """A `PictureModel`; opened when the first picture comes."""

    def __init__(self, model: OnDemand[ImageClassifier], limits: DocumentLimits) -> None:
        self._model = model
        self._limits = limits
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="headwater-image")

    async def look_at(self, path: Path) -> Seen:
        try:
            model = await self._model.get()
        except EngineUnavailable as error:
            raise ModelUnavailable(error.message) from error
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, model, path)

    def _look(self, model: ImageClassifier, path: Path) -> Seen:
        from uploads.documents.picture import opened, upright  # noqa: PLC0415  Pillow, only for pictures

        with opened(path, self._limits) as image:
            return model.classify(upright(image, self._limits).convert("RGB"))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
