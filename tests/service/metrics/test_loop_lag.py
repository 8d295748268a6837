"""How late the loop is, measured on a loop that is blocked on purpose."""

import asyncio
import time

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
