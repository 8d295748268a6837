"""What several ask for at the same time is computed once: the first starts it, the others join.

It goes on as long as anybody waits, whoever that is. When the last one leaves it is cancelled.
"""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


@dataclass(slots=True)
class Flight(Generic[Result]):
    task: "asyncio.Task[Result]"
    waiting: int = 0


class Flights(Generic[Result]):
    """Lives on one event loop. An error reaches everybody who waits, and nobody who comes after."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[Result]] = {}

    def has(self, key: Hashable) -> bool:
        return key in self._flights

    async def run(self, key: Hashable, compute: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        flight = self._flights.get(key)
        if flight is None:
            flight = self._start(key, compute())
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if flight.waiting == 0 and not flight.task.done():
                self._forget(key, flight)
                flight.task.cancel()

    def _start(self, key: Hashable, work: Coroutine[Any, Any, Result]) -> Flight[Result]:
        flight = Flight(asyncio.get_running_loop().create_task(work))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._landed(key, flight))
        return flight

    def _landed(self, key: Hashable, flight: Flight[Result]) -> None:
        self._forget(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # all who waited may have left a moment before

    def _forget(self, key: Hashable, flight: Flight[Result]) -> None:
        """Somebody may have started anew meanwhile."""
        if self._flights.get(key) is flight:
            del self._flights[key]
