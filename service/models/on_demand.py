"""A model that is opened when it is first needed: what nobody asks for costs neither time at the start nor memory."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from service.models.errors import ModelsError
from streaming.errors import EngineDown, EngineLoading, StreamingError

Model = TypeVar("Model")
RETRY_AFTER_FAILURE_S = 10.0  # somebody may have pulled it meanwhile
_log = logging.getLogger("headwater.models")


class OnDemand(Generic[Model]):
    """One instance, however many ask at once. `open_model` blocks, so it runs in a thread; used on one event loop."""

    def __init__(
        self,
        name: str,
        open_model: Callable[[], Model],
        patience_s: float,
        retry_after_s: float = RETRY_AFTER_FAILURE_S,
    ) -> None:
        self.name = name
        self._open_model = open_model
        self._patience_s = patience_s
        self._retry_after_s = retry_after_s
        self._opening: asyncio.Task[Model] | None = None
        self._failed_at = 0.0

    async def get(self) -> Model:
        """Raises `EngineLoading` when it takes longer than is waited for, `EngineDown` when it cannot be opened."""
        if self._opening is None or self._may_be_tried_again(self._opening):
            self._opening = asyncio.get_running_loop().create_task(self._open())
        try:
            async with asyncio.timeout(self._patience_s):
                return await asyncio.shield(self._opening)  # others wait for it as well
        except TimeoutError:
            raise EngineLoading(f"The model {self.name} is still loading.") from None

    def _may_be_tried_again(self, opening: "asyncio.Task[Model]") -> bool:
        failed = opening.done() and (opening.cancelled() or opening.exception() is not None)
        return failed and time.monotonic() >= self._failed_at + self._retry_after_s

    async def _open(self) -> Model:
        started = time.monotonic()
        try:
            model = await asyncio.to_thread(self._open_model)
        except (StreamingError, ModelsError) as error:
            self._failed_at = time.monotonic()
            _log.error("model %s is not loaded: %s", self.name, error.message)
            raise EngineDown(error.message) from error
        except Exception as error:
            self._failed_at = time.monotonic()
            _log.exception("model %s is not loaded", self.name)
            raise EngineDown(f"The model {self.name} could not be loaded; the service's log says why.") from error
        _log.info("model %s is ready after %.1f s", self.name, time.monotonic() - started)
        return model
