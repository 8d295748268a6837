"""SIGTERM under everything at once: streams, uploads and jobs that run are whole afterwards, and nobody is reset."""

import asyncio
import hashlib
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.parsers import parse, text_of
from tests.raw import Exchange, connected, exchange, fetch, stream_path
from tests.server import ServerProcess, server_process, wait_until

STREAMS = 50
UPLOADS = 10
JOBS = 5
ROWS = 400
HALF = b"0123456789abcdef" * 4096
WITHIN_S = 60
LEAVE_WITHIN_S = 30


async def begin_upload(stack: AsyncExitStack, server: ServerProcess, number: int) -> Exchange:
    """Half of it is there, and the server waits for the rest."""
    one = await stack.enter_async_context(connected(server.port))
    head = f"PUT /uploads/file{number}.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {2 * len(HALF)}\r\n\r\n"
    one.writer.write(head.encode() + HALF)
    await one.writer.drain()
    return one


def begin_job(url: str, number: int) -> str:
    rows = "\n".join(f"job {number} row {row}" for row in range(ROWS))
    answer = httpx.post(f"{url}/process-batch", files={"file": (f"rows{number}.txt", rows.encode())}, timeout=WITHIN_S)
    assert answer.status_code == 202
    return str(answer.json()["job_id"])


async def is_draining(server: ServerProcess) -> bool:
    answer, body = await fetch(server.port, "GET", "/readyz")
    return answer.status == 503 and b"draining" in body


@pytest.mark.parametrize("seconds", [4, pytest.param(20, marks=pytest.mark.soak)])
async def test_everything_that_runs_is_whole_after_a_sigterm(tmp_path: Path, seconds: int) -> None:
    """The numbers are those of the promise; the longer form only keeps them running for longer."""
    words = [f"w{number}" for number in range(seconds * 10)]
    async with AsyncExitStack() as stack:
        settings = {"max_running": STREAMS + 20, "shutdown_grace_s": LEAVE_WITHIN_S - 3, "jobs__max_running": JOBS}
        server = stack.enter_context(server_process(tmp_path, **settings))
        url = f"http://127.0.0.1:{server.port}"
        prompt = " ".join(words) + " [[echo tps=10]]"
        path = stream_path(prompt, max_tokens=len(words))
        jobs = [await asyncio.to_thread(begin_job, url, number) for number in range(JOBS)]
        streams = [await stack.enter_async_context(exchange(server.port, "GET", path)) for _ in range(STREAMS)]
        uploads = [await begin_upload(stack, server, number) for number in range(UPLOADS)]
        await asyncio.to_thread(wait_until, lambda: bytes_received(url) >= UPLOADS * len(HALF), WITHIN_S, "halves")

        told_at = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(WITHIN_S):
            while not await is_draining(server):
                pass
        for one in uploads:
            one.writer.write(HALF)
        contents = await asyncio.gather(*(one.read_all() for one in streams))
        assert [parse(content)[-1].name for content in contents] == ["end"] * STREAMS
        assert all(text_of(parse(content)).split() == words for content in contents)
        statuses = [(await one.read_head()).status for one in uploads]
        assert statuses == [201] * UPLOADS
        assert await asyncio.to_thread(server.process.wait, LEAVE_WITHIN_S + WITHIN_S) == 0
        assert time.monotonic() - told_at <= LEAVE_WITHIN_S
    assert "Traceback" not in server.log.read_text()
    await asyncio.to_thread(check_what_stayed, tmp_path, jobs)


def bytes_received(url: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("headwater_upload_bytes_total "))


def check_what_stayed(folder: Path, jobs: list[str]) -> None:
    """A server that comes after finds all files, and ends the jobs that did not fit into the grace."""
    with server_process(folder, echo__tokens_per_second=0) as server:
        url = f"http://127.0.0.1:{server.port}"
        kept = httpx.get(f"{url}/uploads?limit=100").json()
        files = {one["filename"]: one["sha256"] for one in kept["uploads"] if one["filename"].startswith("file")}
        assert files == {f"file{number}.bin": hashlib.sha256(2 * HALF).hexdigest() for number in range(UPLOADS)}
        for number, job_id in enumerate(jobs):
            wait_until(lambda: state_of(url, job_id) == "succeeded", WITHIN_S, "the job succeeds")  # noqa: B023  waited for
            result = httpx.get(f"{url}/jobs/{job_id}/result").text
            assert all(f"job {number} row {row}" in result for row in (0, ROWS // 2, ROWS - 1))
            assert len(result.strip().splitlines()) in (ROWS, ROWS + 1)


def state_of(url: str, job_id: str) -> str:
    return str(httpx.get(f"{url}/jobs/{job_id}").json()["status"])
