"""What becomes of a language model that was replaced: it answers those who have found it, then its engine is closed."""

import asyncio
import logging
import time

from service.models.memory import give_memory_back
from service.models.registry import LoadedLanguage
from service.models.thread import in_daemon_thread
from streaming.engine import Engine

LOOK_INTERVAL_S = 0.2
_log = logging.getLogger("headwater.models")


class Retirement:
    """Used on one event loop. `grace_s` bounds how long an old model is kept for those who hold it."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._retired: dict[asyncio.Task[None], LoadedLanguage] = {}

    @property
    def engines(self) -> list[Engine]:
        """Those that are not closed yet."""
        return [loaded.predictor.engine for loaded in self._retired.values()]

    @property
    def size_bytes(self) -> int:
        return sum(loaded.size_bytes for loaded in self._retired.values())

    def add(self, name: str, loaded: LoadedLanguage) -> None:
        task = asyncio.get_running_loop().create_task(self._retire(name, loaded))
        self._retired[task] = loaded
        task.add_done_callback(self._forget)
        del loaded

    def _forget(self, task: "asyncio.Task[None]") -> None:
        del self._retired[task]
        in_daemon_thread(give_memory_back)

    async def _retire(self, name: str, loaded: LoadedLanguage) -> None:
        ends_at = time.monotonic() + self._grace_s
        while len(loaded.leases) and time.monotonic() < ends_at:  # noqa: ASYNC110  a weak reference tells nobody
            await asyncio.sleep(LOOK_INTERVAL_S)
        if held := len(loaded.leases):
            _log.warning("model %s: version %s is closed while %d still hold it", name, loaded.version, held)
        await in_daemon_thread(lambda: loaded.predictor.engine.close(0))
        _log.info("model %s: version %s is gone", name, loaded.version)

    def cancel(self) -> None:
        for task in self._retired:
            task.cancel()
