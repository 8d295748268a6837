"""How late the event loop is under everything at once: `python -m bench.lag`.

8 uploads of 64 MiB, a PDF of 200 pages that is made searchable and 16 streams, alone and together. The figures are the
server's own, from `/metrics`: every 20 ms something was due, and how late it came. Late also means: no core was free.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from reportlab.pdfgen.canvas import Canvas

from bench import report
from bench.prompts import prompt
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from bench.streams import HEADWATER
from bench.wire import Address, send
from tests.uploads.corpus import CORPUS

MIB = 1 << 20
UPLOADS = 8
UPLOAD_BYTES = 64 * MIB
BLOCK_BYTES = MIB // 4
STREAMS = 16
PAGES = 200
LINES_A_PAGE = 40
BAR_S = 0.02
LAG = "headwater_event_loop_lag_seconds"
POLL_S = 0.5
JOB_WITHIN_S = 170
LOADS = {
    "nothing": frozenset[str](),
    "streams": frozenset({"streams"}),
    "uploads": frozenset({"uploads"}),
    "PDF": frozenset({"PDF"}),
    "all": frozenset({"streams", "uploads", "PDF"}),
}


@dataclass(slots=True)
class Lag:
    """How many measurements were at most so late, for each bound."""

    buckets: dict[float, float] = field(default_factory=dict)

    def since(self, before: "Lag") -> "Lag":
        return Lag({bound: count - before.buckets[bound] for bound, count in self.buckets.items()})

    @property
    def count(self) -> float:
        return max(self.buckets.values())

    def share_within(self, bound_s: float) -> float:
        return self.buckets[bound_s] / self.count

    def quantile_ms(self, share: float) -> str:
        """The bound of the bucket that holds it: the figure is at most this."""
        bound = min(bound for bound, count in self.buckets.items() if count >= share * self.count)
        return f"<= {bound * 1000:g}"


@dataclass(slots=True)
class Tally:
    uploaded_bytes: int = 0
    streams: int = 0
    document_s: float = 0.0


async def read_lag(address: Address) -> Lag:
    exchange = await send(address, "GET", "/metrics")
    text = b"".join([chunk async for chunk in exchange.chunks()]).decode()
    exchange.close()
    family = next(one for one in text_string_to_metric_families(text) if one.name == LAG)
    return Lag({float(one.labels["le"]): one.value for one in family.samples if one.name == f"{LAG}_bucket"})


async def stream(address: Address, tally: Tally, numbers: "itertools.count[int]") -> None:
    """One after the other."""
    while True:
        body = {"prompt": f"{prompt(next(numbers))}", "max_tokens": 128, "temperature": 0}
        exchange = await send(address, "POST", "/chat/stream", body)
        try:
            async for _ in exchange.chunks():
                pass
        finally:
            exchange.close()
        tally.streams += 1


async def upload(address: Address, tally: Tally, number: int) -> None:
    """One after the other, no two of the same content; each is deleted so that disks stay small."""
    dice = random.Random(number)
    while True:
        block = dice.randbytes(BLOCK_BYTES)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            head = f"PUT /uploads/{number}.bin HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
            writer.write(f"{head}Content-Length: {UPLOAD_BYTES}\r\n\r\n".encode())
            for _ in range(UPLOAD_BYTES // BLOCK_BYTES):
                writer.write(block)
                await writer.drain()
                tally.uploaded_bytes += BLOCK_BYTES
            answer = (await reader.read()).decode()
        finally:
            writer.transport.abort()
        if " 201 " not in answer.partition("\r\n")[0]:
            raise RuntimeError(answer)
        location = next(line for line in answer.splitlines() if line.lower().startswith("location: "))
        (await send(address, "DELETE", location.split()[1])).close()


async def process(address: Address, tally: Tally, document: bytes) -> None:
    """Sends the document and waits until it is searchable."""
    begun = time.perf_counter()
    edge = "a-boundary-of-its-own"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="{len(document)}.pdf"\r\n\r\n'
    body = head.encode() + document + f"\r\n--{edge}--\r\n".encode()
    reader, writer = await asyncio.open_connection(address.host, address.port)
    form = f"Content-Type: multipart/form-data; boundary={edge}\r\nContent-Length: {len(body)}"
    writer.write(f"POST /process-file HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n{form}\r\n\r\n".encode() + body)
    answer = (await reader.read()).decode()
    writer.transport.abort()
    job_id = answer.partition('"job_id":"')[2].partition('"')[0]
    status = "queued"
    while status in {"queued", "running"}:
        await asyncio.sleep(POLL_S)
        exchange = await send(address, "GET", f"/jobs/{job_id}")
        status = (await exchange.json())["status"]
        exchange.close()
    if status != "succeeded":
        raise RuntimeError(f"the document's job {status}: {answer}")
    tally.document_s = time.perf_counter() - begun


async def measure(address: Address, loads: frozenset[str], document: bytes, seconds: float) -> tuple[Lag, Tally, float]:
    tally, numbers = Tally(), itertools.count()
    work: list[Coroutine[Any, Any, None]] = []
    if "streams" in loads:
        work += [stream(address, tally, numbers) for _ in range(STREAMS)]
    if "uploads" in loads:
        work += [upload(address, tally, number) for number in range(UPLOADS)]
    before, begun = await read_lag(address), time.perf_counter()
    tasks = [asyncio.create_task(one) for one in work]
    async with asyncio.timeout(JOB_WITHIN_S):
        ending = process(address, tally, document) if "PDF" in loads else asyncio.sleep(0)
        await asyncio.gather(ending, asyncio.sleep(seconds))
    after, took_s = await read_lag(address), time.perf_counter() - begun
    for task in tasks:
        if task.done():
            task.result()
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
    return after.since(before), tally, took_s


def row(engine: str, load: str, lag: Lag, tally: Tally, took_s: float) -> dict[str, str]:
    return {
        "engine": engine,
        "load": load,
        "seconds": f"{took_s:.0f}",
        "measured": f"{lag.count:.0f}",
        "p50 ms": lag.quantile_ms(0.5),
        "p99 ms": lag.quantile_ms(0.99),
        "p99.9 ms": lag.quantile_ms(0.999),
        f"within {BAR_S * 1000:g} ms": f"{lag.share_within(BAR_S):.2%}",
        "MB/s in": f"{tally.uploaded_bytes / took_s / 1e6:.0f}",
        "streams": str(tally.streams),
        "PDF s": f"{tally.document_s:.1f}",
    }


def write_document(path: Path, number: int, pages: int) -> None:
    """Pages of real sentences, each document with others, so that none is known already."""
    dice = random.Random(number)
    text = " ".join(one.read_text() for one in sorted((CORPUS / "files").glob("*.md")))
    sentences = [line.strip()[:90] for line in text.replace("\n", " ").split(". ") if line.strip()]
    canvas = Canvas(str(path))
    for _ in range(pages):
        for line in range(LINES_A_PAGE):
            canvas.drawString(
                50, 800 - 18 * line, dice.choice(sentences).encode("latin-1", "replace").decode("latin-1")
            )
        canvas.showPage()
    canvas.save()


def contender(engine: str, data: Path) -> Contender:
    command = (HEADWATER, "serve", "--engine", engine, "--port", "{port}")
    environment = {"HEADWATER_DATA_DIR": str(data), "HEADWATER_LOG_LEVEL": "warning"}
    return Contender(f"headwater, {engine}", command, "/readyz", "headwater", environment=environment)


def measured(server: Server, engine: str, options: argparse.Namespace, folder: Path) -> list[dict[str, str]]:
    address, path, rows = Address(HOST, server.port), folder / "document.pdf", []
    write_document(path, -1, pages=1)
    asyncio.run(measure(address, LOADS["PDF"], path.read_bytes(), 0))  # the first document opens its model
    for number, load in enumerate(options.loads):
        write_document(path, number, PAGES)
        found = asyncio.run(measure(address, LOADS[load], path.read_bytes(), options.seconds))
        rows.append(row(engine, load, *found))
        sys.stderr.write(f"{rows[-1]}\n")
    return rows


def main() -> None:
    leave_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.lag", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="each load at least; with the PDF until it is done")
    parser.add_argument("--engines", nargs="+", default=["echo", "torch"])
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    options = parser.parse_args()
    header, rows = report.machine(), []
    for engine in options.engines:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder)
            with running(contender(engine, data / "data")) as server:
                rows += measured(server, engine, options, data)
    report.show("How late the event loop is", header, rows)
    report.save("lag", {"header": header, "rows": rows})


if __name__ == "__main__":
    main()
