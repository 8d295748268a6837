"""docs/documents.md: its curl commands are run as they are written, against a real server."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import RunningServer, echo_settings, serving
from tests.uploads.documents.files import picture_of

PAGE = Path(__file__).parent.parent / "docs" / "documents.md"
URL = "http://127.0.0.1:8000"
WITHIN_S = 60.0


def commands() -> list[str]:
    return [block.strip() for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with serving(echo_settings(data_dir=tmp_path_factory.mktemp("documents"))) as server:
        yield server


def curl(running: RunningServer, command: str, folder: Path) -> Any:
    asked = ["bash", "-c", command.replace(URL, running.url).replace("curl ", "curl -sS --fail-with-body ", 1)]
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.model
def test_the_commands_of_the_page_do_what_it_says(running: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("# Offer\n\nThe large pump costs twelve euro.\n")
    picture_of(["Invoice 2041"]).save(tmp_path / "picture.png")
    process, search, search_by_query, recognise = commands()

    job = curl(running, process, tmp_path)
    deadline = time.monotonic() + WITHIN_S
    while curl(running, f"curl {URL}/jobs/{job['job_id']}", tmp_path)["status"] != "succeeded":
        assert time.monotonic() < deadline
        time.sleep(0.05)

    for command in (search, search_by_query):
        (result,) = curl(running, command, tmp_path)["results"]
        assert "twelve euro" in result["text"]
        assert result["upload_id"] == job["upload_id"]

    assert curl(running, recognise, tmp_path)["prediction"] == "Invoice 2041"
