"""H1: schemathesis asks every route of the description whatever its schemas suggest. No answer is a 5xx, and each is as
the description says: its status, its type of content, its headers, its fields.

Each route's schema is read from `/openapi.json` alone, so who adds a route describes what it takes and gives. The seed
is fixed. Whether data that fit a schema are taken is not asked: a route that takes JSON or a query string refuses both
at once, a record depends on its model and a file on its bytes, and no schema can say so.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, server_process

SEED = "20261128"
REQUEST_TIMEOUT_S = "60"
EVENTS = "/events$"  # they go on for as long as what they follow
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "use_after_free",
    "ensure_resource_availability",
)


def ask_everything(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    with server_process(folder, echo__tokens_per_second=0) as server:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"]
        fixed = ["--seed", SEED, "--request-timeout", REQUEST_TIMEOUT_S, "--no-color", "--exclude-path-regex", EVENTS]
        checks = ["--checks", ",".join(CHECKS), "--generation-deterministic", "--continue-on-failure"]
        return subprocess.run(
            [*command, *fixed, *checks, *options],
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.service.schema_hooks"},
        )


def test_every_answer_to_what_the_schemas_suggest_is_as_described(tmp_path: Path) -> None:
    done = ask_everything(tmp_path, "--phases", "examples,coverage", "--max-time", "40")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert "generated, " in done.stdout


@pytest.mark.soak
def test_every_answer_is_as_described_however_long_it_is_tried(tmp_path: Path) -> None:
    done = ask_everything(tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "--max-time", "300")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
