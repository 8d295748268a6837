"""The one-way switch of a service that leaves: no new work, what runs may finish, then go."""

import asyncio


class Drain:
    """Used on the event loop only."""

    def __init__(self) -> None:
        self._started = asyncio.Event()
        self._finished = asyncio.Event()

    @property
    def is_started(self) -> bool:
        return self._started.is_set()

    @property
    def is_finished(self) -> bool:
        """True when every generation has its end; readers may still be taking it."""
        return self._finished.is_set()

    def start(self) -> None:
        self._started.set()

    def finish(self) -> None:
        self._finished.set()

    async def wait_started(self) -> None:
        await self._started.wait()
