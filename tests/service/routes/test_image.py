"""`POST /upload-image` on a real server: text recognition by default, a configured classifier instead."""

import io
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.models.config import load_models
from service.models.store import ModelStore
from tests.server import RunningServer, echo_settings, serving
from tests.service.predictors.test_image import LABELS, write_classifier
from tests.uploads.documents.files import picture_of

WITHIN_S = 60.0
LINES = ["Invoice 2041", "Total due: 1,249.50 EUR"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(echo_settings(data_dir=tmp_path_factory.mktemp("image"))) as server:
        yield server


def png(lines: list[str], size: tuple[int, int] = (1000, 300)) -> bytes:
    out = io.BytesIO()
    picture_of(lines, size).save(out, "PNG")
    return out.getvalue()


def send(running: RunningServer, content: bytes, name: str = "scan.png") -> httpx.Response:
    return httpx.post(f"{running.url}/upload-image", files={"file": (name, content)}, timeout=WITHIN_S)


def kept(running: RunningServer) -> int:
    return len(httpx.get(f"{running.url}/uploads").json()["uploads"])


def test_a_picture_is_kept_and_its_text_is_read(running: RunningServer) -> None:
    content = png(LINES)
    answer = send(running, content)
    assert answer.status_code == 200
    body = answer.json()
    assert body["filename"] == "scan.png"
    assert body["prediction"].split("\n") == LINES
    assert [detail["text"] for detail in body["details"]] == LINES
    assert all(0.5 < detail["confidence"] <= 1 for detail in body["details"])
    assert httpx.get(f"{running.url}/uploads/{body['upload_id']}/content").content == content


def test_a_picture_without_text_has_an_empty_prediction(running: RunningServer) -> None:
    body = send(running, png([])).json()
    assert (body["prediction"], body["details"]) == ("", [])


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"hello", "a.png"),
        (b"", "a.png"),
        (b"%PDF-1.7\n", "a.png"),
        (b"PK\3\4 nothing", "a.jpg"),
        (b"\x89PNG\r\n\x1a\n broken", "a.png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg"),
    ],
)
def test_what_is_no_picture_by_its_bytes_is_refused_and_not_kept(
    running: RunningServer, content: bytes, name: str
) -> None:
    before = kept(running)
    answer = send(running, content, name)
    assert (answer.status_code, answer.json()["code"]) == (400, "not_an_image")
    assert kept(running) == before


def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded(running: RunningServer) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    answer = send(running, bomb + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT")))
    assert (answer.status_code, answer.json()["code"]) == (413, "document_too_large")


def test_the_form_holds_one_file_and_nothing_else(running: RunningServer) -> None:
    url = f"{running.url}/upload-image"
    assert httpx.post(url, files={"other": ("a.png", b"x")}).status_code == 400
    assert httpx.post(url, content=b"x").status_code == 400
    extra = httpx.post(url, files={"file": ("a.png", b"x"), "x": (None, "y")})
    assert (extra.status_code, extra.json()["code"]) == (422, "invalid_request")


def test_a_configured_classifier_answers_instead(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path / "model")
    models = tmp_path / "models.toml"
    models.write_text(f'[models.parts]\nkind = "image"\nsource = {json.dumps(f"file:{folder}")}\n')
    ModelStore(tmp_path / "models").pull(load_models(models)["parts"])
    settings = echo_settings(data_dir=tmp_path / "data", models=models, models_dir=tmp_path / "models")
    with serving(settings) as running:
        body = send(running, png(LINES)).json()
    assert body["prediction"] in LABELS
    assert {detail["text"] for detail in body["details"]} == set(LABELS)
    assert sum(detail["confidence"] for detail in body["details"]) == pytest.approx(1, abs=1e-3)
