"""Measures how late the event loop is: what a client waits for whenever anything blocks it."""

import asyncio
from collections.abc import Callable

INTERVAL_S = 0.02


async def measure_forever(observe: Callable[[float], None]) -> None:
    """One measurement each interval, also for those that a long block swallowed: else it would count as one."""
    loop = asyncio.get_running_loop()
    due = loop.time() + INTERVAL_S
    while True:
        await asyncio.sleep(due - loop.time())
        now = loop.time()
        while due <= now:
            observe(now - due)
            due += INTERVAL_S
