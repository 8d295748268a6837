"""Requests for the same one-shot model that arrive together run together, in the thread of their model.

Who finds nobody else starts at once. What comes while a batch runs waits for its end and runs together after it; only
after a batch of several is a moment given to those who have just been answered, and ask again.
"""

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from math import ceil

from service.predictors.alone import run_together
from service.predictors.errors import PredictionBusy, PredictionTimedOut
from service.predictors.predictor import OneShot, Output
from streaming.errors import ShuttingDown

LEAVING = "The service is shutting down and takes no new work."
OnBatch = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """`max_waiting` is for each predictor. `timeout_s` is from the arrival of a request to its answer."""

    wait_s: float
    max_items: int
    max_waiting: int
    timeout_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    input: Hashable
    outcome: "asyncio.Future[Output]"

    def settle(self, outcome: Output | Exception) -> None:
        if self.outcome.done():  # whoever asked has left
            return
        if isinstance(outcome, Exception):
            self.outcome.set_exception(outcome)
        else:
            self.outcome.set_result(outcome)


class Queue:
    """What waits for one predictor object. It exists while there is something to do, so it keeps no old model."""

    def __init__(self, predictor: OneShot, thread: ThreadPoolExecutor, limits: BatchLimits, on_batch: OnBatch) -> None:
        self.predictor = predictor
        self._thread = thread
        self._limits = limits
        self._on_batch = on_batch
        self._waiting: dict[Item, None] = {}  # in the order of arrival, and whoever leaves is found at once
        self._running: list[Item] = []
        self._batch_s = 0.0
        self._company: asyncio.Event | None = None
        self._company_items = 0

    def add(self, record_input: Hashable) -> Item:
        if len(self._waiting) >= self._limits.max_waiting:
            message = f"Too many requests wait for the model {self.predictor.name}."
            raise PredictionBusy(message, self._retry_after_s())
        item = Item(record_input, asyncio.get_running_loop().create_future())
        self._waiting[item] = None
        if self._company is not None and len(self._waiting) >= self._company_items:
            self._company.set()
        return item

    def remove(self, item: Item) -> None:
        self._waiting.pop(item, None)

    async def run(self) -> None:
        """Until nothing waits. Whatever ends it early, nobody is left without an outcome."""
        try:
            while self._waiting:
                self._running = self._take()
                await self._run_batch(self._running)
                if len(self._running) > 1:
                    await self._wait_for_company(len(self._running))
        finally:
            for item in (*self._running, *self._waiting):
                item.settle(ShuttingDown(LEAVING))

    def _take(self) -> list[Item]:
        batch = list(self._waiting)[: self._limits.max_items]
        for item in batch:
            del self._waiting[item]
        return batch

    async def _run_batch(self, batch: list[Item]) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        inputs = [item.input for item in batch]
        outcomes = await loop.run_in_executor(self._thread, run_together, self.predictor, inputs)
        self._batch_s = loop.time() - began
        self._on_batch(len(batch))
        for item, outcome in zip(batch, outcomes, strict=True):
            item.settle(outcome)

    async def _wait_for_company(self, items: int) -> None:
        """Until as many wait as were answered just now, or the time is up."""
        if len(self._waiting) >= items:
            return
        self._company, self._company_items = asyncio.Event(), items
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.wait_s):
                await self._company.wait()
        self._company = None

    def _retry_after_s(self) -> int:
        batches = len(self._waiting) / self._limits.max_items + 1
        return max(1, ceil(batches * self._batch_s))


class Batches:
    """Lives on one event loop. A predictor object has its own queue, a model's name its own thread.

    So a new version of a model never shares a batch with the old one, and never computes beside it.
    """

    def __init__(self, limits: BatchLimits, on_batch: OnBatch = lambda items: None) -> None:
        """`on_batch` is told of every batch how many requests it answered."""
        self._limits = limits
        self._on_batch = on_batch
        self._queues: dict[int, Queue] = {}  # by the object's identity: its queue holds it, so that is not given anew
        self._threads: dict[str, ThreadPoolExecutor] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @property
    def predictors(self) -> list[OneShot]:
        """Those that something waits for."""
        return [queue.predictor for queue in self._queues.values()]

    async def predict(self, predictor: OneShot, record_input: Hashable) -> Output:
        """Raises `PredictionError`; `ShuttingDown` after `close`. Whoever is cancelled takes the input back."""
        if self._is_closed:
            raise ShuttingDown(LEAVING)
        queue = self._queue_of(predictor)
        item = queue.add(record_input)
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await item.outcome
        except TimeoutError:
            raise PredictionTimedOut(f"The model {predictor.name} did not answer in time.") from None
        finally:
            queue.remove(item)

    def _queue_of(self, predictor: OneShot) -> Queue:
        queue = self._queues.get(id(predictor))
        if queue is None:
            queue = Queue(predictor, self._thread_of(predictor.name), self._limits, self._on_batch)
            self._queues[id(predictor)] = queue
            task = asyncio.get_running_loop().create_task(self._run(id(predictor), queue))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return queue

    async def _run(self, key: int, queue: Queue) -> None:
        try:
            await queue.run()
        finally:
            del self._queues[key]

    def _thread_of(self, name: str) -> ThreadPoolExecutor:
        if name not in self._threads:
            self._threads[name] = ThreadPoolExecutor(1, thread_name_prefix=f"headwater-predict-{name}")
        return self._threads[name]

    async def wait_until_idle(self, grace_s: float) -> None:
        """Until every request has its answer, or the grace is over."""
        ends_at = time.monotonic() + grace_s
        while self._tasks and (left_s := ends_at - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)

    async def close(self, grace_s: float) -> None:
        """What waits is still answered within the grace, then it fails. A batch that runs cannot be stopped."""
        self._is_closed = True
        await self.wait_until_idle(grace_s)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)
