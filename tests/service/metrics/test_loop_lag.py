"""How late the loop is, measured on a loop that is blocked on purpose."""

import asyncio
import time

import uvloop

from service.metrics.loop_lag import INTERVAL_S, measure_forever

BLOCK_S = 10 * INTERVAL_S


async def test_a_block_counts_for_every_moment_that_it_swallowed() -> None:
    found: list[float] = []
    measured = asyncio.Event()

    def observe(lag_s: float) -> None:
        found.append(lag_s)
        measured.set()

    task = asyncio.create_task(measure_forever(observe))
    async with asyncio.timeout(60):
        await measured.wait()
        measured.clear()
        found.clear()
        time.sleep(BLOCK_S)  # noqa: ASYNC251  the block that is measured
        await measured.wait()
    task.cancel()
    assert max(found) >= BLOCK_S - 2 * INTERVAL_S
    assert len([one for one in found if one >= INTERVAL_S]) >= 8


def test_measuring_does_not_keep_the_loop_busy() -> None:
    """The clock of uvloop counts milliseconds, and a sum of twenties of them misses them by less than a sleep."""
    observed: list[float] = []
    slept: list[float] = []

    async def counted_sleep(delay_s: float) -> None:
        slept.append(delay_s)
        await asyncio.sleep(delay_s)

    async def measure() -> None:
        enough = asyncio.Event()

        def observe(lag_s: float) -> None:
            observed.append(lag_s)
            if len(observed) >= 50:
                enough.set()

        task = asyncio.create_task(measure_forever(observe, counted_sleep))
        async with asyncio.timeout(60):
            await enough.wait()
        task.cancel()

    uvloop.run(measure())
    assert len(slept) <= 3 * len(observed)
