"""SIGTERM and a real process: what runs is finished, and the exit code says so."""

import subprocess
from pathlib import Path

import httpx

from tests.e2e.process import free_port, serving, wait_until

REPEAT = 60


def test_sigterm_finishes_the_answer_and_leaves_with_0(tmp_path: Path) -> None:
    with serving(tmp_path / "log", free_port(), "--engine", "echo") as server:
        command = ["curl", "-sSN", "-G", "-H", "Accept: text/plain", f"{server.url}/chat/stream"]
        command += ["--data-urlencode", f"prompt=[[echo repeat={REPEAT} tps=50]]wave "]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
            assert reader.stdout is not None
            first = reader.stdout.read(4)
            server.terminate()
            wait_until(lambda: is_leaving(server.url), 5, "the server says that it leaves")
            assert reader.poll() is None, "the answer is still being made"
            text = first + reader.stdout.read()
            assert reader.wait() == 0
        assert text.split() == [b"wave"] * REPEAT
        assert server.wait() == 0


def is_leaving(url: str) -> bool:
    """New work is refused, with a status while the server still answers and by a closed door after that."""
    try:
        answers = [httpx.get(f"{url}/readyz"), httpx.get(f"{url}/chat/stream", params={"prompt": "more"})]
    except httpx.TransportError:
        return True
    return [answer.status_code for answer in answers] == [503, 503]


def test_a_second_sigterm_leaves_at_once(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "log", free_port(), "--engine", "echo") as server,
        httpx.stream("GET", f"{server.url}/chat/stream", params={"prompt": "[[echo hang_at=1]]a b"}) as answer,
    ):
        chunks = answer.iter_bytes()  # held: the connection is closed with the last reference to it
        next(chunks)
        server.terminate()
        wait_until(lambda: is_leaving(server.url), 5, "the server says that it leaves")
        server.terminate()
        assert server.wait() != 0
