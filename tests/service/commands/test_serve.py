"""`headwater serve` as people run it: what it says before it serves, and what its banner claims."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, wait_until
from tests.streaming.engines.torch.tiny import make_model

DEADLINE_S = 60
TRAINED_TOKENS = 4096
LIST = "the models.toml"  # with a space: a shell has to be able to read what is proposed


def environment(folder: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return {**clean, "PYTHONPATH": str(ROOT), "HEADWATER_MODELS_DIR": str(folder / "prepared")}


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "service", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_model(tmp_path / "tiny")
    (tmp_path / LIST).write_text('[models.default]\nsource = "file:tiny"\nmax_context_tokens = 99999\n')
    return tmp_path


def test_the_proposed_command_fetches_and_the_banner_tells_the_context_that_is_left(folder: Path) -> None:
    refused = run(folder, "serve", "--port", "0", "--models", LIST)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    proposed = re.search(r"`headwater (.*)`", refused.stderr)
    assert proposed, refused.stderr
    pulled = run(folder, *shlex.split(proposed[1]))
    assert pulled.returncode == 0, pulled.stderr
    log = folder / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "service", "serve", "--port", "0", "--models", LIST]
        process = subprocess.Popen(command, cwd=folder, env=environment(folder), stdout=output, stderr=output)
    try:
        wait_until(lambda: "Try: curl" in log.read_text() or process.poll() is not None, DEADLINE_S, "the banner")
        assert f" {TRAINED_TOKENS} tokens of context" in log.read_text()
        process.terminate()
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_the_proposed_request_brings_a_key_where_one_is_asked_for(folder: Path) -> None:
    command = [sys.executable, "-m", "service", "serve", "--engine", "echo", "--port", "0"]
    log, asked = folder / "log", {"HEADWATER_ACCESS__REQUIRED": "true"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**environment(folder), **asked}, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: "Try: curl" in log.read_text() or process.poll() is not None, DEADLINE_S, "the banner")
        assert 'Try: curl -N -H "X-API-Key: $HEADWATER_API_KEY" -H' in log.read_text()
    finally:
        process.kill()
        process.wait()


TERMINATES_ITSELF = """
import os, runpy, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Finder())
sys.argv = ["headwater", "serve", "--engine", "echo", "--port", "0"]
runpy.run_module("service", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["typer", "service.settings", "service.commands.announce", "uvicorn", "uvloop"])
def test_whoever_is_told_to_leave_while_it_starts_leaves_with_0(tmp_path: Path, module: str) -> None:
    command = [sys.executable, "-c", TERMINATES_ITSELF.format(module=module)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, timeout=DEADLINE_S, check=False
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
