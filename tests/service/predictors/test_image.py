"""Any classifier of pictures in the hub's layout: here a random one that the test makes."""

import asyncio
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from service.models.on_demand import OnDemand
from service.predictors.image import ImageClassifier, OnDemandClassifier, load_classifier
from streaming.errors import EngineDown
from uploads.documents.errors import BrokenDocument, DocumentTooLarge
from uploads.documents.limits import DocumentLimits
from uploads.errors import ModelUnavailable

SIDE = 16
LABELS = ["pump", "valve", "seal"]
LIMITS = DocumentLimits(max_pixels=100_000)


def write_classifier(folder: Path) -> Path:
    torch.manual_seed(3)
    config = ViTConfig(
        image_size=SIDE,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def picture(folder: Path, colour: str = "red", size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Path:
    path = folder / f"{colour}.png"
    Image.new(mode, size, colour).save(path)
    return path


def on_demand(folder: Path) -> OnDemandClassifier:
    def open_model() -> ImageClassifier:
        return load_classifier(folder, name="tiny", version="v1")

    return OnDemandClassifier(OnDemand("tiny", open_model, patience_s=60), LIMITS)


def expected(folder: Path, path: Path) -> list[tuple[str, float]]:
    """By the model alone, on pixels that were scaled by hand."""
    model = ViTForImageClassification.from_pretrained(folder).eval()
    small = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = torch.tensor(list(small.tobytes()), dtype=torch.float32).reshape(SIDE, SIDE, 3).permute(2, 0, 1)
    with torch.inference_mode():
        shares = model(pixel_values=(pixels / 255 - 0.5)[None] / 0.5).logits[0].softmax(-1).tolist()
    return sorted(zip(LABELS, shares, strict=True), key=lambda pair: -pair[1])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
async def test_a_picture_gets_its_likeliest_labels(tmp_path: Path, mode: str) -> None:
    folder = write_classifier(tmp_path / "model")
    path = picture(tmp_path, "white", mode=mode)
    classifier = on_demand(folder)
    seen = await classifier.look_at(path)
    wanted = expected(folder, path)
    assert seen.prediction == wanted[0][0]
    assert [one.text for one in seen.findings] == [label for label, _ in wanted]
    assert [one.confidence for one in seen.findings] == pytest.approx([share for _, share in wanted], abs=1e-4)
    classifier.close()


async def test_pictures_do_not_change_each_other(tmp_path: Path) -> None:
    classifier = on_demand(write_classifier(tmp_path / "model"))
    paths = [picture(tmp_path, colour) for colour in ("red", "blue", "green")]
    alone = [await classifier.look_at(path) for path in paths]
    assert await asyncio.gather(*(classifier.look_at(path) for path in paths)) == alone
    classifier.close()


async def test_too_many_pixels_and_damage_are_refused(tmp_path: Path) -> None:
    classifier = on_demand(write_classifier(tmp_path / "model"))
    with pytest.raises(DocumentTooLarge):
        await classifier.look_at(picture(tmp_path, "black", (400, 300)))
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture(tmp_path).read_bytes()[:60])
    with pytest.raises(BrokenDocument):
        await classifier.look_at(cut)
    classifier.close()


async def test_a_model_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EngineDown):
        load_classifier(folder, name="tiny", version="v1")
    with pytest.raises(ModelUnavailable):
        await on_demand(folder).look_at(picture(tmp_path))
