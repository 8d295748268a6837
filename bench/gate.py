"""Open streams are exact: `python -m bench.gate` opens 200 streams of 10 tokens a second for 30 seconds and counts.

Each stream has words of its own, so a word that is lost, comes twice, comes early or belongs to somebody else is seen.
A token's lateness is measured against the rate that was asked for, from the stream's most punctual token: what the
engine, the event loop, the kernel and this client added. Memory is the growth of the server's process at its widest.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

from bench import report
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from bench.streams import headwater
from bench.wire import Address, send

LATENESS_MAX_S = 0.25
STREAM_BYTES_MAX = 60 * 1024
LOOK_S = 0.2
WORDS = 10


@dataclass(slots=True)
class Seen:
    """One stream: its words and when each came."""

    number: int
    words: list[str] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    end: str = ""


def words_of(number: int, tokens: int) -> list[str]:
    """The same ten again and again: a prompt as short as a question, so that memory is that of a stream."""
    return [f"s{number}w{place % WORDS}" for place in range(tokens)]


async def read(address: Address, number: int, tokens: int, tokens_per_second: int) -> Seen:
    seen = Seen(number)
    repeats = -(-tokens // WORDS)
    prompt = "".join(f" {word}" for word in words_of(number, WORDS))
    prompt += f"[[echo tps={tokens_per_second} repeat={repeats}]]"
    exchange = await send(address, "POST", "/chat/stream", {"prompt": prompt, "max_tokens": tokens})
    try:
        async for event in exchange.events():
            seen.positions.append(int(event.id.rpartition(".")[2]))
            data = json.loads(event.data)
            if event.name == "message":
                found = data["text"].split()
                seen.words += found
                seen.arrivals_s += [time.monotonic()] * len(found)
            elif event.name in {"end", "failed", "gap"}:
                seen.end = event.name
    finally:
        exchange.close()
    return seen


def faults(seen: Seen, tokens: int) -> Counter[str]:
    """How many words are wrong, by what is wrong with them."""
    expected = words_of(seen.number, tokens)
    due, come = Counter(expected), Counter(seen.words)
    own = Counter({word: count for word, count in come.items() if word in due})
    is_whole = own == due and come == due
    return Counter(
        lost=(due - own).total(),
        repeated=(own - due).total(),
        foreign=(come - own).total(),
        reordered=sum(later <= sooner for sooner, later in pairwise(seen.positions))
        + (is_whole and seen.words != expected),
        unfinished=seen.end != "end",
    )


def lateness_s(seen: Seen, tokens_per_second: int) -> list[float]:
    if not seen.arrivals_s:
        return []
    after_rate = [at - place / tokens_per_second for place, at in enumerate(seen.arrivals_s)]
    return [one - min(after_rate) for one in after_rate]


async def widest(server: Server, stop: asyncio.Event) -> int:
    most = 0
    while not stop.is_set():
        most = max(most, server.resident_bytes())
        await asyncio.sleep(LOOK_S)
    return most


async def gate(server: Server, options: argparse.Namespace) -> tuple[list[Seen], int]:
    address, stop, tokens = Address(HOST, server.port), asyncio.Event(), options.seconds * options.rate
    watching = asyncio.create_task(widest(server, stop))
    seen = await asyncio.gather(*(read(address, number, tokens, options.rate) for number in range(options.streams)))
    stop.set()
    return list(seen), await watching


def contender(streams: int) -> Contender:
    echo = headwater("echo")
    settings = {"HEADWATER_MAX_RUNNING": str(streams), "HEADWATER_FINISHED_LOG_TTL_S": "1"}
    return Contender(echo.name, echo.command, echo.ready_path, echo.dialect, environment=settings)


def main() -> None:
    leave_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--rate", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    header = report.machine()
    with running(contender(options.streams)) as server:
        asyncio.run(gate(server, argparse.Namespace(streams=20, rate=options.rate, seconds=3)))  # warm
        before = server.resident_bytes()
        seen, most = asyncio.run(gate(server, options))
    tokens = options.seconds * options.rate
    wrong = sum((faults(one, tokens) for one in seen), Counter[str]())
    late = [late_s for one in seen for late_s in lateness_s(one, options.rate)]
    stream_bytes = (most - before) / options.streams
    p99 = report.percentile(late, 0.99)
    row = {
        "streams": f"{options.streams} x {options.rate}/s x {options.seconds} s",
        **{kind: str(wrong[kind]) for kind in ("lost", "repeated", "reordered", "foreign", "unfinished")},
        "late p50 ms": f"{1000 * report.middle(late):.0f}",
        "late p99 ms": f"{1000 * p99:.0f}",
        "late max ms": f"{1000 * max(late):.0f}",
        "KiB a stream": f"{stream_bytes / 1024:.0f}",
    }
    report.show("Gate", header, [row])
    report.save("gate", {"header": header, "row": row})
    sys.exit(0 if not wrong.total() and p99 <= LATENESS_MAX_S and stream_bytes <= STREAM_BYTES_MAX else 1)


if __name__ == "__main__":
    main()
