"""The commands of docs/jobs.md, run as they stand there."""

import csv
import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.process import Headwater
from tests.readme import ROOT, URL

PAGE = (ROOT / "docs" / "jobs.md").read_text()
COMMANDS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
WITHIN_S = 60


@pytest.fixture(scope="module")
def folder(echo_server: Headwater, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all commands of the page ran, one after the other in one shell; `out` is what they said."""
    folder = tmp_path_factory.mktemp("jobs-page")
    script = "\n".join(COMMANDS).replace(URL, echo_server.url)
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=WITHIN_S)
    (folder / "out").write_text(done.stdout)
    return folder


def test_the_result_has_a_prediction_for_every_row(folder: Path) -> None:
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1", "2"]
    assert [row["prediction"] for row in rows] == [row["text"] for row in rows]
    assert all(not row["error"] for row in rows)


def test_the_events_end_with_the_job(folder: Path) -> None:
    (end,) = re.findall(r"^event: end\ndata: (.*)$", (folder / "out").read_text(), re.MULTILINE)
    assert json.loads(end)["status"] == "succeeded"


def test_the_page_shows_three_batches_that_were_taken(folder: Path) -> None:
    assert (folder / "out").read_text().count('"status":"processing"') == 3


def test_the_cancelled_job_is_cancelled_unless_it_was_quicker(folder: Path) -> None:
    out = (folder / "out").read_text()
    if out.endswith("409\n"):
        assert json.loads((folder / "cancelled.json").read_text())["code"] == "job_ended"
    else:
        assert out.endswith("204\n")
