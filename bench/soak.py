"""Many streams for minutes, cut and cancelled at random, every character accounted for: `make soak`.

Each reader joins what it got over its cuts and compares it with the log read again from its start: a difference is lost
or repeated text. Now and then the same request runs once more in one piece: a difference is foreign text.
"""

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from bench import report
from bench.prompts import prompt
from bench.servers import HOST, Server, leave_on_sigterm, running
from bench.streams import headwater
from bench.wire import Address, send

CANCEL_SHARE = 0.2
AGAIN_SHARE = 0.25
CUT_SHARE = 0.7
CUT_BYTES = 6000
SETTLE_WITHIN_S = 30
RETRY_S = 0.2


@dataclass(slots=True)
class Tally:
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def compare(self, got: str, whole: str, kind: str) -> None:
        """Counts characters that are wrong; `kind` says what a difference would mean."""
        if got != whole:
            self.counts[kind] += max(abs(len(got) - len(whole)), 1)
            sys.stderr.write(f"{kind}: {got!r} is not {whole!r}\n")


@dataclass(slots=True)
class Read:
    text: str = ""
    last_position: int = -1
    end: str = ""


class Reader:
    """One of the many: asks, is cut, comes back, compares, asks again."""

    def __init__(self, address: Address, number: int, engine: str, tally: Tally) -> None:
        self._address = address
        self._random = random.Random(number)
        self._engine = engine
        self._tally = tally
        self._asked = number * 100_000

    async def run_until(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            self._asked += 1
            body = self.question()
            try:
                await self.one(body)
            except (OSError, asyncio.IncompleteReadError) as error:
                self._tally.failures[type(error).__name__] += 1
            except Refused as refusal:
                self._tally.failures[str(refusal)] += 1
                await asyncio.sleep(RETRY_S)

    def question(self) -> dict[str, object]:
        text = prompt(self._asked)
        if self._engine == "echo":
            text = f"[[echo repeat={self._random.randint(5, 40)} tps=40]] {text} 🌊"
        length = self._random.randint(8, 120) if self._engine == "torch" else 500
        return {"prompt": text, "max_tokens": length, "seed": self._asked, "temperature": 0.8, "grace_s": 20}

    async def one(self, body: dict[str, object]) -> None:
        stream_id = await self.open(body)
        self._tally.counts["streams"] += 1
        will_cancel = self._random.random() < CANCEL_SHARE
        read = Read()
        while not read.end:
            cut_after = self._random.randint(1, CUT_BYTES) if self._random.random() < CUT_SHARE else None
            await self.read_on(stream_id, read, cut_after)
            if will_cancel and not read.end:
                will_cancel = False
                await self.cancel(stream_id)
        whole = Read()
        await self.read_on(stream_id, whole, None)
        self._tally.compare(read.text, whole.text, "lost or repeated")
        self._tally.counts[read.end] += 1
        if read.end in {"stop", "length"} and self._random.random() < AGAIN_SHARE:
            self._tally.counts["run again"] += 1
            self._tally.compare(read.text, await self.again(body), "foreign")

    async def open(self, body: dict[str, object]) -> str:
        exchange = await send(self._address, "POST", "/chat/streams", body)
        answer = await exchange.json()
        exchange.close()
        if exchange.status != 201:
            raise Refused(f"{exchange.status} {answer.get('code')}")
        return str(answer["stream_id"])

    async def read_on(self, stream_id: str, read: Read, cut_after: int | None) -> None:
        """Takes what comes after the last position; a connection that is cut has simply ended."""
        headers = {"Accept": "text/event-stream"}
        if read.last_position >= 0:
            headers["Last-Event-ID"] = f"{stream_id}.{read.last_position}"
        exchange = await send(self._address, "GET", f"/chat/streams/{stream_id}/events", headers=headers)
        try:
            if exchange.status != 200:
                raise Refused(f"{exchange.status} on resume")
            async for event in exchange.events(cut_after):
                position = int(event.id.rpartition(".")[2])
                if position <= read.last_position:
                    self._tally.counts["reordered"] += 1
                if event.id.rpartition(".")[0] != stream_id:
                    self._tally.counts["foreign"] += 1
                read.last_position = position
                take(read, event.name, json.loads(event.data))
        finally:
            exchange.close()
        self._tally.counts["connections"] += 1

    async def cancel(self, stream_id: str) -> None:
        exchange = await send(self._address, "DELETE", f"/chat/streams/{stream_id}")
        exchange.close()

    async def again(self, body: dict[str, object]) -> str:
        read, stream_id = Read(), await self.open(body)
        await self.read_on(stream_id, read, None)
        return read.text


class Refused(Exception):
    """The server said no: its status and code."""


def take(read: Read, name: str, data: dict[str, object]) -> None:
    if name == "message":
        read.text += str(data["text"])
    elif name == "end":
        read.end = str(data["finish_reason"])
    elif name in {"failed", "gap"}:
        read.end = name


async def soak(server: Server, options: argparse.Namespace) -> Tally:
    tally, address = Tally(), Address(HOST, server.port)
    deadline = time.monotonic() + options.seconds
    readers = [Reader(address, number, options.engine, tally) for number in range(options.streams)]
    await asyncio.gather(*(reader.run_until(deadline) for reader in readers))
    return tally


def is_idle(server: Server) -> bool:
    """No processor time for a while: nothing generates, and no slot is held by work."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    while time.monotonic() < deadline:
        if server.process.cpu_percent(interval=1.0) < 3:
            return True
    return False


def main() -> None:
    leave_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--engine", default="torch")
    options = parser.parse_args()
    header = report.machine() | {"streams": str(options.streams), "seconds": str(options.seconds)}
    with running(headwater(options.engine)) as server:
        asyncio.run(soak(server, argparse.Namespace(**{**vars(options), "seconds": options.seconds / 10})))  # warm
        before = (server.resident_bytes(), server.process.num_fds(), server.process.num_threads())
        tally = asyncio.run(soak(server, options))
        idle = is_idle(server)
        after = (server.resident_bytes(), server.process.num_fds(), server.process.num_threads())
    wrong = {kind: tally.counts[kind] for kind in ("lost or repeated", "reordered", "foreign")}
    done = {kind: count for kind, count in tally.counts.items() if kind not in wrong}
    left = {"memory MB": (after[0] - before[0]) / 1e6, "files": after[1] - before[1], "threads": after[2] - before[2]}
    row = {**{kind: str(count) for kind, count in {**done, **wrong}.items()}, "idle again": str(idle)}
    report.show(f"Soak, {options.engine}", header, [row])
    print(f"grown since the warm-up: {left}\nrefused or broken: {dict(tally.failures)}")
    report.save("soak", {"header": header, "row": row, "grown": left, "failures": dict(tally.failures)})
    sys.exit(0 if idle and not any(wrong.values()) else 1)


if __name__ == "__main__":
    main()
