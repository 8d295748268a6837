"""Equal questions at one time: one computation, whoever leaves and whatever it ends with."""

import asyncio

import pytest

from service.flights import Flights


class Computation:
    """Counts its runs; each waits until the gate opens, then gives its number or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.begun = self.cancelled = 0
        self.gate = asyncio.Event()
        self.fails = fails

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fails:
            raise ValueError(number)
        return number


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_thousand_equal_questions_are_computed_once() -> None:
    flights, compute = Flights[int](), Computation()
    tasks = [asyncio.create_task(flights.run("same", compute)) for _ in range(1000)]
    await turns()
    compute.gate.set()
    assert await asyncio.gather(*tasks) == [1] * 1000
    assert compute.begun == 1
    assert not flights.has("same")


async def test_other_questions_are_computed_apart() -> None:
    flights, compute = Flights[int](), Computation()
    compute.gate.set()
    one, other = await asyncio.gather(flights.run("a", compute), flights.run("b", compute))
    assert {one, other} == {1, 2}


async def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    flights, compute = Flights[int](), Computation(fails=True)
    tasks = [asyncio.create_task(flights.run("same", compute)) for _ in range(3)]
    await turns()
    compute.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
    assert compute.begun == 1
    compute.fails = False
    assert await flights.run("same", compute) == 2


@pytest.mark.parametrize("leaving", [0, 1])
async def test_who_leaves_takes_nothing_from_the_others(leaving: int) -> None:
    flights, compute = Flights[int](), Computation()
    tasks = [asyncio.create_task(flights.run("same", compute)) for _ in range(2)]
    await turns()
    tasks[leaving].cancel()
    await turns()
    compute.gate.set()
    assert await tasks[1 - leaving] == 1
    assert tasks[leaving].cancelled()
    assert compute.cancelled == 0


async def test_when_all_have_left_it_is_cancelled_and_the_next_one_begins_anew() -> None:
    flights, compute = Flights[int](), Computation()
    tasks = [asyncio.create_task(flights.run("same", compute)) for _ in range(2)]
    await turns()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    compute.gate.set()
    assert await flights.run("same", compute) == 2
    assert compute.cancelled == 1
