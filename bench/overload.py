"""Overload sheds what it cannot serve: `python -m bench.overload` offers four times what the echo engine can answer.

The peak is what as many clients get done as there are places and seats in the line, each asking again as soon as it has
its answer: no place is ever empty. Then answers are asked for at four times that rate, evenly, whatever becomes of the
earlier ones. A refusal is 429 or 503 with `Retry-After`; its time is that from connecting to its last byte. Goodput is
answers that came whole.
"""

import argparse
import asyncio
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from bench import report
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from bench.streams import headwater
from bench.wire import Address, send

REFUSED = (429, 503)
REFUSAL_MAX_S = 0.05
GOODPUT_MIN = 0.9
TOKENS = 20
TOKENS_PER_SECOND = 20
ANSWER_WITHIN_S = 60.0


@dataclass(slots=True)
class Tally:
    outcomes: Counter[str] = field(default_factory=Counter)
    refusals_s: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        return self.outcomes["answered"]

    @property
    def not_answered(self) -> int:
        return self.outcomes.total() - self.answered

    def share_told_when(self) -> float:
        """Of what was not answered, how much was refused with `Retry-After`."""
        return self.outcomes["refused"] / self.not_answered if self.not_answered else 1.0


async def ask(address: Address, tally: Tally) -> None:
    prompt = "one " * TOKENS + f"[[echo tps={TOKENS_PER_SECOND}]]"
    began = time.monotonic()
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            exchange = await send(address, "POST", "/chat/stream", {"prompt": prompt, "max_tokens": TOKENS})
            try:
                names = [event.name async for event in exchange.events()] if exchange.status == 200 else []
                if exchange.status in REFUSED:
                    await exchange.json()
            finally:
                exchange.close()
    except (OSError, asyncio.IncompleteReadError, TimeoutError) as error:
        tally.outcomes[type(error).__name__] += 1
        return
    if exchange.status in REFUSED and "retry-after" in exchange.headers:
        tally.refusals_s.append(time.monotonic() - began)
    tally.outcomes[outcome_of(exchange.status, names, exchange.headers)] += 1


def outcome_of(status: int, names: list[str], headers: dict[str, str]) -> str:
    if status in REFUSED:
        return "refused" if "retry-after" in headers else f"{status} without Retry-After"
    if status != 200:
        return str(status)
    return "answered" if names[-1:] == ["end"] else "broken off"


async def peak(address: Address, clients: int, seconds: float) -> float:
    """Answers a second of so many clients that ask again at once."""
    tally, began = Tally(), time.monotonic()

    async def again_and_again() -> None:
        while time.monotonic() - began < seconds:
            await ask(address, tally)

    await asyncio.gather(*(again_and_again() for _ in range(clients)))
    return tally.answered / (time.monotonic() - began)


async def overload(address: Address, rate: float, seconds: float) -> tuple[Tally, float]:
    """Answers a second while `rate` requests a second come, however long each takes."""
    tally, began, number = Tally(), time.monotonic(), 0
    async with asyncio.TaskGroup() as asked:
        while (now := time.monotonic() - began) < seconds:
            while number < now * rate:
                asked.create_task(ask(address, tally))
                number += 1
            await asyncio.sleep(1 / rate)
    return tally, tally.answered / (time.monotonic() - began)


def seats(places: int) -> int:
    return places // 2


def contender(places: int) -> Contender:
    """A short line: who waits in it is not refused, and would count as late."""
    echo = headwater("echo")
    settings = {"HEADWATER_MAX_RUNNING": str(places), "HEADWATER_MAX_WAITING": str(seats(places))}
    settings |= {"HEADWATER_FINISHED_LOG_TTL_S": "1"}
    return Contender(echo.name, echo.command, echo.ready_path, echo.dialect, environment=settings)


async def measure(server: Server, options: argparse.Namespace) -> tuple[float, Tally, float]:
    address = Address(HOST, server.port)
    clients = options.places + seats(options.places)
    await peak(address, clients, 2)  # warm
    most = await peak(address, clients, options.seconds / 3)
    tally, good = await overload(address, options.times * most, options.seconds)
    return most, tally, good


def main() -> None:
    leave_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__)
    parser.add_argument("--places", type=int, default=32, help="answers that run at once")
    parser.add_argument("--times", type=float, default=4, help="how many times the peak is asked for")
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    header = report.machine()
    with running(contender(options.places)) as server:
        most, tally, good = asyncio.run(measure(server, options))
    p99 = report.percentile(tally.refusals_s, 0.99)
    row = {
        "asked": f"{tally.outcomes.total()} in {options.seconds:.0f} s",
        "answered": str(tally.answered),
        "refused with Retry-After": f"{100 * tally.share_told_when():.1f} % of the rest",
        "refusal p50 ms": f"{1000 * report.middle(tally.refusals_s):.0f}",
        "refusal p99 ms": f"{1000 * p99:.0f}",
        "peak /s": f"{most:.1f}",
        "goodput /s": f"{good:.1f}",
        "of the peak": f"{100 * good / most:.0f} %",
    }
    report.show("Overload", header, [row])
    report.save("overload", {"header": header, "row": row, "outcomes": dict(tally.outcomes)})
    sys.exit(0 if tally.share_told_when() == 1 and p99 <= REFUSAL_MAX_S and good >= GOODPUT_MIN * most else 1)


if __name__ == "__main__":
    main()
