import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from service.models.errors import NotAtSource
from service.models.on_demand import OnDemand
from streaming.errors import EngineDown, EngineLoading

DEADLINE_S = 60.0


@dataclass
class Door:
    """Opens a model when the test says so."""

    may_open: threading.Event = field(default_factory=threading.Event)
    opened: int = 0
    error: Exception | None = None

    def open(self) -> str:
        self.opened += 1
        assert self.may_open.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        return "model"


async def test_nothing_is_opened_until_it_is_needed_and_then_once() -> None:
    door = Door()
    model = OnDemand("m", door.open, patience_s=DEADLINE_S)
    assert door.opened == 0
    asked = [asyncio.create_task(model.get()) for _ in range(20)]
    await asyncio.sleep(0)  # the loop is free while the model opens
    door.may_open.set()
    assert await asyncio.gather(*asked) == ["model"] * 20
    assert await model.get() == "model"
    assert door.opened == 1


async def test_who_waits_too_long_is_told_and_the_next_one_finds_it_open() -> None:
    door = Door()
    model = OnDemand("m", door.open, patience_s=0.01)
    with pytest.raises(EngineLoading):
        await model.get()
    door.may_open.set()
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                assert await model.get() == "model"
                break
            except EngineLoading:
                continue
    assert door.opened == 1


async def test_one_who_leaves_does_not_stop_the_others() -> None:
    door = Door()
    model = OnDemand("m", door.open, patience_s=DEADLINE_S)
    leaving, staying = asyncio.create_task(model.get()), asyncio.create_task(model.get())
    await asyncio.sleep(0)
    leaving.cancel()
    door.may_open.set()
    assert await staying == "model"


@pytest.mark.parametrize(("error", "words"), [(NotAtSource("Not here."), "Not here."), (RuntimeError("x"), "log")])
async def test_a_failure_is_told_in_words_and_tried_again_later(error: Exception, words: str) -> None:
    door = Door(error=error)
    door.may_open.set()
    model = OnDemand("m", door.open, patience_s=DEADLINE_S, retry_after_s=0.0)
    with pytest.raises(EngineDown, match=words):
        await model.get()
    door.error = None
    assert await model.get() == "model"


async def test_a_failure_is_not_tried_again_at_once() -> None:
    door = Door(error=RuntimeError("x"))
    door.may_open.set()
    model = OnDemand("m", door.open, patience_s=DEADLINE_S)
    for _ in range(5):
        with pytest.raises(EngineDown):
            await model.get()
    assert door.opened == 1
