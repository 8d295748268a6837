"""Models of pictures: any classifier in the hub's layout, here a random one of the test's; and their text."""

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from service.predictors.errors import InvalidRecord
from service.predictors.image import ImageClassifier, load_image_classifier
from service.predictors.picture import Picture, read_picture
from service.predictors.recognition import TextRecognition
from streaming.errors import EngineDown
from tests.uploads.documents.files import picture_of
from uploads.documents.limits import DocumentLimits
from uploads.documents.transport import WARM_UP
from uploads.sandbox import Bounds, Sandbox

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


def loaded(folder: Path) -> ImageClassifier:
    return load_image_classifier(folder, name="tiny", version="v1", limits=LIMITS)


def picture_at(path: Path) -> Picture:
    return Picture(hashlib.sha256(path.read_bytes()).hexdigest(), path)


def expected(folder: Path, path: Path) -> list[tuple[str, float]]:
    """By the model alone, on pixels that were scaled by hand."""
    model = ViTForImageClassification.from_pretrained(folder).eval()
    small = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = torch.tensor(list(small.tobytes()), dtype=torch.float32).reshape(SIDE, SIDE, 3).permute(2, 0, 1)
    with torch.inference_mode():
        shares = model(pixel_values=(pixels / 255 - 0.5)[None] / 0.5).logits[0].softmax(-1).tolist()
    return sorted(zip(LABELS, shares, strict=True), key=lambda pair: -pair[1])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_picture_gets_its_likeliest_labels(tmp_path: Path, mode: str) -> None:
    folder = write_classifier(tmp_path / "model")
    path = picture(tmp_path, "white", mode=mode)
    model = loaded(folder)
    wanted = expected(folder, path)
    sent = model.read({"image": base64.b64encode(path.read_bytes()).decode()})
    for answer in model.predict([picture_at(path), sent]):
        assert answer["prediction"] == wanted[0][0]
        assert [one["text"] for one in answer["details"]] == [label for label, _ in wanted]
        assert [one["confidence"] for one in answer["details"]] == pytest.approx([one for _, one in wanted], abs=1e-4)


def test_the_same_bytes_are_the_same_picture(tmp_path: Path) -> None:
    path = picture(tmp_path)
    sent = read_picture({"image": base64.b64encode(path.read_bytes()).decode()})
    assert sent == picture_at(path)
    assert hash(sent) == hash(picture_at(path))
    assert sent != picture_at(picture(tmp_path, "blue"))


def test_pictures_do_not_change_each_other(tmp_path: Path) -> None:
    model = loaded(write_classifier(tmp_path / "model"))
    pictures = [picture_at(picture(tmp_path, colour)) for colour in ("red", "blue", "green")]
    assert model.predict(pictures) == [model.predict([one])[0] for one in pictures]


def test_too_many_pixels_and_damage_are_refused(tmp_path: Path) -> None:
    model = loaded(write_classifier(tmp_path / "model"))
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture(tmp_path).read_bytes()[:60])
    for path, kind in ((picture(tmp_path, "black", (400, 300)), "document_too_large"), (cut, "broken_document")):
        with pytest.raises(InvalidRecord) as refused:
            model.predict([picture_at(path)])
        assert (refused.value.field, refused.value.kind) == (("image",), kind)


@pytest.mark.parametrize("image", [None, 1, "x", "eA==\n\n", "ä"])
def test_what_is_no_base64_is_refused(image: Any) -> None:
    with pytest.raises(InvalidRecord):
        read_picture({"image": image})


def test_a_model_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EngineDown):
        loaded(folder)


async def test_text_is_read_from_several_pictures_at_once(tmp_path: Path) -> None:
    sandbox = Sandbox(Bounds(wall_s=120, cpu_s=60, memory_bytes=2 << 30), max_processes=2, preload=WARM_UP)
    model = TextRecognition("image", "v1", sandbox, asyncio.get_running_loop(), DocumentLimits())
    texts = ["Invoice 2041", "Total due"]
    for text in texts:
        picture_of([text]).save(tmp_path / f"{text}.png")
    (tmp_path / "none.png").write_bytes(b"no picture")
    try:
        pictures = [picture_at(tmp_path / f"{text}.png") for text in texts]
        answers = await asyncio.to_thread(model.predict, pictures)
        with pytest.raises(InvalidRecord):
            await asyncio.to_thread(model.predict, [picture_at(tmp_path / "none.png")])
    finally:
        await sandbox.close()
    assert [answer["prediction"] for answer in answers] == texts
