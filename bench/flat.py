"""Memory stays flat: `python -m bench.flat --seconds 600` mixes streams that are left, cut and resumed, files that come
and go, and requests that are refused, and measures how much the server's process grows for each thousand of them.

The slope is that of a line through all looks after the first fifth, so neither a warm-up nor a single look decides.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

from bench import report
from bench.servers import HOST, Contender, Server, leave_on_sigterm, running
from bench.streams import headwater
from bench.wire import Address, send

AT_ONCE = 16
LOOK_EVERY = 200
GROWTH_MAX_MIB = 1.0
"""For a thousand cycles."""
WARM_SHARE = 0.2


async def leave_in_the_middle(address: Address, chance: random.Random) -> None:
    body = {"prompt": "word [[echo repeat=1000 tps=200]]", "grace_s": 0}
    exchange = await send(address, "POST", "/chat/stream", body)
    async for event in exchange.events(chance.randint(1, 2000)):
        if event.name == "end":
            break
    exchange.close()


async def cut_and_resume(address: Address, chance: random.Random) -> None:
    prompt = "one two three four five six seven eight nine ten [[echo tps=400]]"
    exchange = await send(address, "GET", f"/chat/stream?prompt={prompt.replace(' ', '+')}", headers={})
    last = ""
    async for event in exchange.events(chance.randint(300, 700)):
        last = event.id
    exchange.close()
    if last:
        rest = await send(address, "GET", "/chat/stream", headers={"Last-Event-ID": last})
        async for _ in rest.events():
            pass
        rest.close()


async def keep_and_delete(address: Address, chance: random.Random) -> None:
    sent = {"filler": "x" * chance.randint(1, 20_000)}
    made = await send(address, "PUT", f"/uploads/file{chance.randint(0, 9)}.json", sent)
    upload_id = (await made.json())["upload_id"]
    made.close()
    gone = await send(address, "DELETE", f"/uploads/{upload_id}")
    gone.close()


async def be_refused(address: Address, chance: random.Random) -> None:
    wrong = chance.choice(
        [
            ("POST", "/predict", {"text": ""}),
            ("POST", "/predict", {"text": "x", f"field{chance.random()}": 1}),
            ("GET", f"/nowhere/{chance.random()}", None),
            ("GET", f"/chat/streams/s{chance.getrandbits(128):032x}", None),
        ]
    )
    exchange = await send(address, *wrong)
    await exchange.json()
    exchange.close()


WAYS: tuple[Callable[[Address, random.Random], Awaitable[None]], ...] = (
    leave_in_the_middle,
    cut_and_resume,
    keep_and_delete,
    be_refused,
)


async def cycle(server: Server, seconds: float) -> tuple[int, list[tuple[int, int]]]:
    """How many cycles there were, and the process's memory after how many of them."""
    address, done, looks = Address(HOST, server.port), 0, [(0, server.resident_bytes())]
    deadline = time.monotonic() + seconds

    async def go_on(number: int) -> None:
        nonlocal done
        chance = random.Random(number)
        while time.monotonic() < deadline:
            await chance.choice(WAYS)(address, chance)
            done += 1
            if done % LOOK_EVERY == 0:
                looks.append((done, server.resident_bytes()))

    await asyncio.gather(*(go_on(number) for number in range(AT_ONCE)))
    return done, looks


def growth_mib(looks: list[tuple[int, int]]) -> float:
    """For a thousand cycles."""
    settled = [look for look in looks if look[0] >= WARM_SHARE * looks[-1][0]]
    if len(settled) < 2:
        return float("nan")
    cycles, sizes = zip(*settled, strict=True)
    return statistics.linear_regression(cycles, sizes).slope * 1000 / 2**20


def contender() -> Contender:
    echo = headwater("echo")
    settings = {"HEADWATER_FINISHED_LOG_TTL_S": "1", "HEADWATER_MAX_RUNNING": "64", "HEADWATER_LOG_LEVEL": "warning"}
    return Contender(echo.name, echo.command, echo.ready_path, echo.dialect, environment=settings)


def main() -> None:
    leave_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.flat", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    header = report.machine()
    with running(contender()) as server:
        files = server.process.num_fds()
        done, looks = asyncio.run(cycle(server, options.seconds))
        left = server.process.num_fds() - files
    slope = growth_mib(looks)
    row = {
        "seconds": f"{options.seconds:.0f}",
        "cycles": str(done),
        "MiB at first": f"{looks[0][1] / 2**20:.0f}",
        "MiB at last": f"{looks[-1][1] / 2**20:.0f}",
        "MiB a 1,000 cycles": f"{slope:.2f}",
        "files left": str(left),
    }
    report.show("Flat", header, [row])
    report.save("flat", {"header": header, "row": row, "looks": json.loads(json.dumps(looks))})
    sys.exit(0 if slope <= GROWTH_MAX_MIB else 1)


if __name__ == "__main__":
    main()
