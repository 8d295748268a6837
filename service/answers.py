"""Answers of one-shot models: from the cache, from a computation that runs already, or from the next batch."""

import asyncio
from collections.abc import Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from service.batching import Batches
from service.cache import AnswerCache, Key
from service.flights import Flights
from service.metrics.metrics import Metrics
from service.models.layout import ModelKind
from service.predictors.alone import run_alone
from service.predictors.predictor import OneShot, Output

Way: TypeAlias = Literal["hit", "stored", "not stored", "collapsed", "bypass"]
CACHE_STATUS: Mapping[Way, str] = {  # RFC 9211
    "hit": "headwater; hit",
    "stored": "headwater; fwd=miss; stored",
    "not stored": "headwater; fwd=miss",
    "collapsed": "headwater; fwd=miss; collapsed",
    "bypass": "headwater; fwd=bypass",
}
# A sum of a few products takes less time than handing it to a thread or looking it up: it is done right here.
QUICK_KINDS: frozenset[ModelKind] = frozenset({"linear"})


@dataclass(frozen=True, slots=True)
class Answered:
    """`output` may be shared with others who asked the same: it is read, never changed."""

    output: Output
    way: Way

    @property
    def is_cached(self) -> bool:
        return self.way == "hit"

    @property
    def cache_status(self) -> str:
        """The value of the header `Cache-Status`."""
        return CACHE_STATUS[self.way]


class Answers:
    """Lives on the event loop and never blocks it."""

    def __init__(
        self, batches: Batches, cache: AnswerCache, counted: Metrics, *, max_items: int, is_shared: bool
    ) -> None:
        """`max_items` of one request are in the queue at once; `is_shared` gives principals each other's answers."""
        self._batches = batches
        self._cache = cache
        self._counted = counted
        self._max_items = max_items
        self._is_shared = is_shared
        self._flights: Flights[tuple[Output, bool]] = Flights()

    async def answer(self, predictor: OneShot, record_input: Hashable, principal_id: str) -> Answered:
        """`record_input` is what `predictor.read` gave. Raises `PredictionError` or `ShuttingDown`."""
        if predictor.kind in QUICK_KINDS:
            return Answered(run_alone(predictor, record_input), "bypass")
        key = Key(predictor.name, predictor.version, record_input, "" if self._is_shared else principal_id)
        found = self._cache.get(key)
        if found is not None:
            self._counted.cache_hits.inc()
            return Answered(found, "hit")
        self._counted.cache_misses.inc()
        is_first = not self._flights.has(key)
        output, is_stored = await self._flights.run(key, lambda: self._compute(predictor, key))
        if not is_first:
            return Answered(output, "collapsed")
        return Answered(output, "stored" if is_stored else "not stored")

    async def answer_all(
        self, predictor: OneShot, record_inputs: Sequence[Hashable], principal_id: str
    ) -> list[Answered]:
        """In their order; when one fails, all fail with its error. A long list comes in pieces of a batch's size."""
        answered: list[Answered] = []
        for begin in range(0, len(record_inputs), self._max_items):
            piece = record_inputs[begin : begin + self._max_items]
            answered += await all_or_none([self.answer(predictor, one, principal_id) for one in piece])
        return answered

    async def _compute(self, predictor: OneShot, key: Key) -> tuple[Output, bool]:
        output = await self._batches.predict(predictor, key.input)
        return output, self._cache.put(key, output)

    async def wait_until_idle(self, grace_s: float) -> None:
        await self._batches.wait_until_idle(grace_s)

    async def close(self, grace_s: float) -> None:
        """What waits is still answered within the grace."""
        await self._batches.close(grace_s)


async def all_or_none(asked: Sequence[Coroutine[Any, Any, Answered]]) -> list[Answered]:
    tasks = [asyncio.create_task(one) for one in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
