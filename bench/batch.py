"""A batch job beside people who chat: rows a second, and what they notice. `python -m bench.batch --help`.

Three phases on one server, each with the same chats: people alone, the job alone, both. The job is cancelled after that
unless it is to run to its end.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass

import httpx

from bench import report
from bench.prompts import prompt
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from bench.streams import Cell
from bench.streams import measure as read_chats

ENDED = ("succeeded", "failed", "cancelled")
POLL_S = 0.2
FIRST_CHAT = 100_000  # prompts that no row has


@dataclass(frozen=True, slots=True)
class Batch:
    """A job on a running server."""

    url: str
    job_id: str

    def state(self) -> dict[str, object]:
        answer: dict[str, object] = httpx.get(f"{self.url}/jobs/{self.job_id}").raise_for_status().json()
        return answer

    def done(self) -> int:
        return int(str(self.state()["done"]))

    def cancel(self) -> None:
        httpx.delete(f"{self.url}/jobs/{self.job_id}")


class Meter:
    """Rows a second between its making and `per_second`."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._began, self._before = time.perf_counter(), batch.done()

    def per_second(self) -> float:
        return (self._batch.done() - self._before) / (time.perf_counter() - self._began)


def start_batch(url: str, rows: int, row_tokens: int) -> Batch:
    content = "".join(f"{prompt(number)}\n" for number in range(rows))
    form = {"max_tokens": str(row_tokens), "temperature": "0", "format": "lines"}
    answer = httpx.post(f"{url}/process-batch", files={"file": ("rows.txt", content)}, data=form, timeout=60)
    return Batch(url, answer.raise_for_status().json()["job_id"])


def measure(options: argparse.Namespace, folder: str) -> tuple[list[dict[str, str]], list[str]]:
    command = (sys.executable, "-m", "service", "serve", "--port", "{port}")
    contender = Contender("Headwater", command, "/readyz", "headwater", environment={"HEADWATER_DATA_DIR": folder})
    notes = []
    with running(contender) as server:
        url = f"http://{HOST}:{server.port}"
        alone, beside = Cell("people alone", options.chats), Cell("people and job", options.chats)
        chat(server, options, alone)
        batch = start_batch(url, options.rows, options.row_tokens)
        wait_for_rows(batch)
        meter = Meter(batch)
        time.sleep(options.alone_s)
        rows_alone = meter.per_second()
        meter = Meter(batch)
        chat(server, options, beside)
        rows_beside = meter.per_second()
        if options.to_end:
            notes.append(to_end(batch, options.rows))
        batch.cancel()
    table = [
        {**cell.row(), "rows/s": rows}
        for cell, rows in ((alone, "-"), (Cell("job alone", 0), f"{rows_alone:.1f}"), (beside, f"{rows_beside:.1f}"))
    ]
    return table, notes


def chat(server: Server, options: argparse.Namespace, cell: Cell) -> None:
    for number in range(options.rounds):
        cell.take(read_chats(server, options.chats, options.tokens, FIRST_CHAT + 100 * number))


def wait_for_rows(batch: Batch) -> None:
    """The first rows bring what every first request brings; they are not measured."""
    while batch.done() < 16:
        time.sleep(POLL_S)


def to_end(batch: Batch, rows: int) -> str:
    began = time.perf_counter()
    before = batch.done()
    while (state := batch.state())["status"] not in ENDED:
        time.sleep(POLL_S)
    took_s = time.perf_counter() - began
    return f"{state['status']}: the last {rows - before} rows in {took_s:.0f} s, {(rows - before) / took_s:.1f} rows/s"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--row-tokens", type=int, default=16, help="the longest prediction of a row")
    parser.add_argument("--chats", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=128, help="of each answer in a chat")
    parser.add_argument("--rounds", type=int, default=2, help="of chats in each phase")
    parser.add_argument("--alone-s", type=float, default=30.0, help="how long the job runs alone")
    parser.add_argument("--to-end", action="store_true", help="let the job run to its end")
    return parser.parse_args()


def main() -> None:
    leave_on_sigterm()
    options = parse()
    with tempfile.TemporaryDirectory(prefix="headwater-batch-") as folder:
        table, notes = measure(options, folder)
    header = {**report.machine(), "rows": str(options.rows), "tokens a row": str(options.row_tokens)}
    report.show("A batch job beside people", header, table)
    report.save("batch", {"header": header, "table": table, "notes": notes})
    for note in notes:
        print(note)


if __name__ == "__main__":
    main()
