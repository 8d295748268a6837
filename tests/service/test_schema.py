"""H1: schemathesis asks every route of the description whatever its schemas suggest, and no answer is a 5xx.

Each route's schema is read from `/openapi.json` alone, so who adds a route describes what it takes. The seed is fixed.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import server_process

SEED = "20261128"
REQUEST_TIMEOUT_S = "60"
EVENTS = "/events$"  # they go on for as long as what they follow


def ask_everything(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    with server_process(folder, echo__tokens_per_second=0) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"]
        fixed = ["--seed", SEED, "--request-timeout", REQUEST_TIMEOUT_S, "--no-color", "--exclude-path-regex", EVENTS]
        checks = ["--checks", "not_a_server_error", "--generation-deterministic"]
        return subprocess.run([*command, *fixed, *checks, *options], capture_output=True, text=True, check=False)


def test_no_input_that_the_schemas_suggest_is_a_5xx(tmp_path: Path) -> None:
    done = ask_everything(tmp_path, "--phases", "examples,coverage", "--max-time", "40")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "generated, " in done.stdout


@pytest.mark.soak
def test_no_input_is_a_5xx_however_long_it_is_tried(tmp_path: Path) -> None:
    done = ask_everything(tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "--max-time", "300")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
