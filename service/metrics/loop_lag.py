"""Measures how late the event loop is: what a client waits for whenever anything blocks it."""

import asyncio
from collections.abc import Awaitable, Callable

INTERVAL_S = 0.02
TICK_S = 0.001  # uvloop's clock: what is due within half of it is due, and a shorter sleep is none


async def measure_forever(
    observe: Callable[[float], None], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """One measurement each interval, also for those that a long block swallowed: else it would count as one."""
    loop = asyncio.get_running_loop()
    due = loop.time() + INTERVAL_S
    while True:
        await sleep(max(due - loop.time(), TICK_S))
        now = loop.time()
        while due <= now + TICK_S / 2:
            observe(max(now - due, 0.0))
            due += INTERVAL_S
