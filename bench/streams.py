"""Tokens a second through HTTP, ours and the peer's in one run: `make bench`, or `python -m bench.streams --help`.

Rounds alternate between the servers, so that a busy moment of the machine meets all of them; medians are reported.
"""

import argparse
import json
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench import peer, report
from bench.load import Job, Reading
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running

ROUND_WITHIN_S = 900
HEADWATER = str(Path(sys.executable).with_name("headwater"))


@dataclass(slots=True)
class Cell:
    """What one server did with so many streams; one entry a round, or one a stream where that is said."""

    server: str
    streams: int
    tokens_per_second: list[float] = field(default_factory=list)
    stream_tokens_per_second: list[float] = field(default_factory=list)
    first_token_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    resident_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def take(self, readings: list[Reading]) -> None:
        whole = [one for one in readings if one.arrivals_s and not one.failure]
        self.failures += [one.failure or "no text" for one in readings if one not in whole]
        if not whole:
            return
        self.tokens_per_second.append(sum(one.tokens for one in whole) / max(one.finished_s for one in whole))
        self.stream_tokens_per_second += [one.tokens / one.finished_s for one in whole]
        self.first_token_s += [one.arrivals_s[0] for one in whole]
        for one in whole:
            self.gaps_s += [late - early for early, late in zip(one.arrivals_s, one.arrivals_s[1:], strict=False)]

    def summary(self) -> str:
        return f"{self.server}, {self.streams} streams: {report.middle(self.tokens_per_second):.0f} tokens/s so far"

    def row(self) -> dict[str, str]:
        return {
            "server": self.server,
            "streams": str(self.streams),
            "tokens/s": f"{report.middle(self.tokens_per_second):.0f}",
            "per stream": f"{report.middle(self.stream_tokens_per_second):.1f}",
            "first p50 ms": f"{report.middle(self.first_token_s) * 1000:.0f}",
            "first p99 ms": f"{report.percentile(self.first_token_s, 0.99) * 1000:.0f}",
            "gap p50 ms": f"{report.middle(self.gaps_s) * 1000:.1f}",
            "gap p99 ms": f"{report.percentile(self.gaps_s, 0.99) * 1000:.1f}",
            "memory MB": f"{self.resident_bytes / 1e6:.0f}",
            "failed": str(len(self.failures)),
        }


def headwater(engine: str) -> Contender:
    command = (HEADWATER, "serve", "--engine", engine, "--port", "{port}")
    return Contender(f"headwater, {engine}", command, "/readyz", "headwater")


def measure(server: Server, streams: int, tokens: int, first_prompt: int) -> list[Reading]:
    """One round by a load client in a process of its own."""
    job = Job(HOST, server.port, server.contender.dialect, streams, tokens, first_prompt)
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=json.dumps(asdict(job)),
        capture_output=True,
        text=True,
        check=True,
        timeout=ROUND_WITHIN_S,
    )
    return [Reading(**one) for one in json.loads(done.stdout)]


def compare(servers: list[Server], options: argparse.Namespace) -> list[Cell]:
    cells = [
        Cell(server.contender.name, streams)
        for streams in options.streams
        for server in servers
        if streams <= server.contender.max_streams
    ]
    by_name = {server.contender.name: server for server in servers}
    prompts = 0
    for server in servers:
        measure(server, 1, options.tokens, prompts)  # warm
    for number in range(options.rounds):
        for cell in cells:
            prompts += cell.streams
            cell.take(measure(by_name[cell.server], cell.streams, options.tokens, prompts))
            cell.resident_bytes = max(cell.resident_bytes, by_name[cell.server].resident_bytes())
            sys.stderr.write(f"round {number + 1} of {options.rounds}: {cell.summary()}\n")
    return cells


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=lambda text: [int(one) for one in text.split(",")], default=[1, 4, 16, 32])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--no-peer", action="store_true", help="only ours")
    return parser.parse_args()


def main() -> None:
    leave_on_sigterm()
    options = parse()
    contenders = [headwater(options.engine)]
    if not options.no_peer:
        peer.prepare()
        contenders += peer.contenders()
    header = report.machine() | {"new tokens": str(options.tokens), "rounds": str(options.rounds)}
    with ExitStack() as stack:
        servers = [stack.enter_context(running(one)) for one in contenders]
        cells = compare(servers, options)
        ready = {server.contender.name: round(server.ready_after_s, 2) for server in servers}
    report.show("Streams through HTTP, greedy, end of text ignored", header, [cell.row() for cell in cells])
    path = report.save("streams", {"header": header, "ready_s": ready, "cells": [asdict(cell) for cell in cells]})
    print(f"Ready after (s): {ready}\nWritten to {path}")
    for cell in cells:
        for failure in sorted(set(cell.failures)):
            print(f"{cell.server}, {cell.streams} streams failed: {failure[:200]}")


if __name__ == "__main__":
    main()
