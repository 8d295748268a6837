"""The commands of docs/uploads.md, run as they stand there."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.e2e.process import Headwater
from tests.readme import ROOT, URL

PAGE = (ROOT / "docs" / "uploads.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
REPORT = b"%PDF-1.7\n" + bytes(range(256))
WITHIN_S = 60


@pytest.fixture(scope="module")
def folder(echo_server: Headwater, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands of the page ran, one after the other in one shell; `out` is what they said."""
    folder = tmp_path_factory.mktemp("uploads-page")
    (folder / "report.pdf").write_bytes(REPORT)
    (folder / "table.csv").write_text("a,b\n1,2\n")
    (folder / "downloads").mkdir()
    script = "\n".join(COMMANDS).replace(URL, echo_server.url).replace("curl ", "curl -sS --fail-with-body ")
    script = script.replace("-OJ", "--output-dir downloads -OJ")
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=WITHIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "out").write_text(done.stdout)
    return folder


def test_every_way_in_is_taken(folder: Path) -> None:
    answers = re.findall(r'\{"upload_id".*?\}', (folder / "out").read_text())
    taken = [(upload["filename"], upload["media_type"]) for upload in map(json.loads, answers[:5])]
    assert taken == [
        ("report.pdf", "application/pdf"),
        ("table.csv", "text/csv"),
        ("report.pdf", "application/pdf"),
        ("table.csv.gz", "application/x-gzip"),
        ("table.csv", "text/csv"),
    ]


def test_what_went_in_comes_out(folder: Path) -> None:
    assert (folder / "downloads" / "report.pdf").read_bytes() == REPORT
    assert (folder / "part.bin").read_bytes() == REPORT[100:200]


def test_the_resumed_upload_is_an_upload(folder: Path, echo_server: Headwater) -> None:
    (upload_id,) = re.findall(r"x-upload-id: (\w+)", (folder / "out").read_text(), re.IGNORECASE)
    assert httpx.get(f"{echo_server.url}/uploads/{upload_id}/content").content == b"hello world"


def test_the_example_has_the_fields_of_an_answer(folder: Path) -> None:
    (example,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    answer = re.findall(r'\{"upload_id".*?\}', (folder / "out").read_text())[0]
    assert list(json.loads(example)) == list(json.loads(answer))
