"""`headwater worker`: a process of its own on the store of a server that runs no jobs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server import ROOT, echo_settings, serving, wait_until

WITHIN_S = 60.0


@contextmanager
def worker(folder: Path, database_url: str, **settings: str) -> Iterator["subprocess.Popen[bytes]"]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    chosen = {"DATA_DIR": str(folder), "DATABASE_URL": database_url, "ENGINE": "echo", **settings}
    environment = {**clean, **{f"HEADWATER_{name}": value for name, value in chosen.items()}, "PYTHONPATH": str(ROOT)}
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service", "worker"], env=environment, cwd=folder, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def url(tmp_path: Path, database_url: str) -> Iterator[str]:
    settings = echo_settings(data_dir=tmp_path, database_url=database_url, jobs={"run_here": False})
    with serving(settings) as running:
        yield running.url


def add(url: str, content: str) -> str:
    response = httpx.post(f"{url}/process-batch", files={"file": ("rows.txt", content)})
    assert response.status_code == 202, response.text
    return str(response.json()["job_id"])


def status(url: str, job_id: str) -> str:
    return str(httpx.get(f"{url}/jobs/{job_id}").json()["status"])


def test_a_worker_does_what_the_server_took_and_leaves_with_0(url: str, tmp_path: Path, database_url: str) -> None:
    job_id = add(url, "one\ntwo\n")
    assert status(url, job_id) == "queued"
    with worker(tmp_path, database_url) as process:
        wait_until(lambda: status(url, job_id) == "succeeded", WITHIN_S, "the job is done")
        process.terminate()
        assert process.wait(WITHIN_S) == 0
    assert "two,two," in httpx.get(f"{url}/jobs/{job_id}/result").text


def test_a_worker_that_is_told_to_leave_gives_its_job_back(url: str, tmp_path: Path, database_url: str) -> None:
    job_id = add(url, "[[echo hang_at=1]] for ever\n")
    with worker(tmp_path, database_url, SHUTDOWN_GRACE_S="0") as process:
        wait_until(lambda: status(url, job_id) == "running", WITHIN_S, "the job runs")
        process.send_signal(signal.SIGINT)
        assert process.wait(WITHIN_S) == 0
    assert status(url, job_id) == "queued"
    assert httpx.get(f"{url}/jobs/{job_id}").json()["attempts"] == 0


@pytest.mark.parametrize("wrong", ["mysql://user:hidden@host/name", "postgresql://user:hidden@127.0.0.1:1/name"])
def test_a_database_that_cannot_be_used_is_said_in_one_line(tmp_path: Path, wrong: str) -> None:
    with worker(tmp_path, wrong) as process:
        assert process.wait(WITHIN_S) == 1
    said = (tmp_path / "worker.log").read_text()
    assert json.loads(said.splitlines()[-1])["logger"] == "headwater.worker"
    assert "hidden" not in said
    assert "exception" not in json.loads(said.splitlines()[-1])
