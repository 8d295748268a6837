"""A batch job beside people who chat: rows a second, and what they notice. `python -m bench.batch --help`.

Each round on one server: people alone, the job alone, both; so a busy moment of the machine meets all three. The job is
cancelled after its round; `--to-end` lets a last one run to its end.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field

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


def start_batch(server: Server, rows: int, row_tokens: int) -> Batch:
    url = f"http://{HOST}:{server.port}"
    content = "".join(f"{prompt(number)}\n" for number in range(rows))
    form = {"max_tokens": str(row_tokens), "temperature": "0", "format": "lines"}
    answer = httpx.post(f"{url}/process-batch", files={"file": ("rows.txt", content)}, data=form, timeout=60)
    return Batch(url, answer.raise_for_status().json()["job_id"])


@dataclass(slots=True)
class Seen:
    """What the rounds gave."""

    alone: Cell
    beside: Cell
    rows_alone: list[float] = field(default_factory=list)
    rows_beside: list[float] = field(default_factory=list)

    def table(self) -> list[dict[str, str]]:
        job = {name: "" for name in self.alone.row()} | {"server": "job alone"}
        return [
            {**self.alone.row(), "rows/s": ""},
            {**job, "rows/s": f"{report.middle(self.rows_alone):.1f}"},
            {**self.beside.row(), "rows/s": f"{report.middle(self.rows_beside):.1f}"},
        ]


def measure(options: argparse.Namespace, folder: str) -> tuple[Seen, list[str]]:
    command = (sys.executable, "-m", "service", "serve", "--port", "{port}")
    contender = Contender("Headwater", command, "/readyz", "headwater", environment={"HEADWATER_DATA_DIR": folder})
    seen = Seen(Cell("people alone", options.chats), Cell("people and job", options.chats))
    notes = []
    with running(contender) as server:
        read_chats(server, 1, options.tokens, 0)  # warm
        for number in range(options.rounds):
            measure_round(server, options, seen, FIRST_CHAT + 1000 * number)
            sys.stderr.write(f"after round {number + 1}: {seen.table()}\n")  # a run that is cut has shown something
        if options.to_end:
            notes.append(to_end(start_batch(server, options.rows, options.row_tokens), options.rows))
    return seen, notes


def measure_round(server: Server, options: argparse.Namespace, seen: Seen, first_chat: int) -> None:
    seen.alone.take(read_chats(server, options.chats, options.tokens, first_chat))
    batch = start_batch(server, options.rows, options.row_tokens)
    wait_for_rows(batch)
    meter = Meter(batch)
    time.sleep(options.alone_s)
    seen.rows_alone.append(meter.per_second())
    meter = Meter(batch)
    seen.beside.take(read_chats(server, options.chats, options.tokens, first_chat + options.chats))
    seen.rows_beside.append(meter.per_second())
    batch.cancel()


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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone-s", type=float, default=10.0, help="how long the job runs alone in each round")
    parser.add_argument("--to-end", action="store_true", help="let one more job run to its end")
    return parser.parse_args()


def main() -> None:
    leave_on_sigterm()
    options = parse()
    with tempfile.TemporaryDirectory(prefix="headwater-batch-") as folder:
        seen, notes = measure(options, folder)
    header = {**report.machine(), "rows": str(options.rows), "tokens a row": str(options.row_tokens)}
    report.show("A batch job beside people", header, seen.table())
    report.save("batch", {"header": header, "seen": asdict(seen), "notes": notes})
    for note in notes:
        print(note)


if __name__ == "__main__":
    main()
