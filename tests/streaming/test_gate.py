"""Open streams are exact, in short: `python -m bench.gate` does it at length and measures how late and how large."""

import asyncio
from collections import Counter

from bench.gate import Seen, faults, read, words_of
from bench.wire import Address
from tests.server import RunningServer

STREAMS = 50
TOKENS = 40
RATE = 20


async def test_50_streams_lose_repeat_and_mix_nothing(server: RunningServer) -> None:
    address = Address("127.0.0.1", server.port)
    async with asyncio.timeout(60):
        seen = await asyncio.gather(*(read(address, number, TOKENS, RATE) for number in range(STREAMS)))
    assert sum((faults(one, TOKENS) for one in seen), Counter[str]()).total() == 0


def test_each_kind_of_fault_is_counted() -> None:
    whole = words_of(1, 4)
    cases = {
        "lost": whole[:3],
        "repeated": [*whole, whole[0]],
        "foreign": [*whole, words_of(2, 1)[0]],
        "reordered": [whole[1], whole[0], *whole[2:]],
    }
    for kind, words in cases.items():
        found = faults(Seen(1, words, end="end", positions=list(range(9))), 4)
        assert found[kind] > 0, kind
    assert faults(Seen(1, whole, end="failed"), 4)["unfinished"] == 1
    assert faults(Seen(1, whole, end="end", positions=[1, 3, 2]), 4)["reordered"] == 1
