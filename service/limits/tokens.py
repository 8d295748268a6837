"""Tokens that were written, charged to whoever asked for them when their generation ends."""

import asyncio
from typing import Any

from service.limits.limiter import Limiter
from service.middleware import REQUEST
from streaming.events import Delta, Event, Failed, Finished

CALLER = "caller"


class TokenMeter:
    """`streaming.log.Observer` of one generation. Made while its request is served, told on the engine's thread."""

    __slots__ = ("_caller", "_limiter", "_loop", "_written")

    def __init__(self, limiter: Limiter, loop: asyncio.AbstractEventLoop) -> None:
        self._limiter = limiter
        self._loop = loop
        self._caller: Any = REQUEST.get().get(CALLER)
        self._written = 0

    def appended(self, event: Event) -> None:
        match event:
            case Delta(tokens=tokens):
                self._written += tokens
            case Finished(usage=usage):
                self._charge(max(self._written, usage.completion_tokens))
            case Failed():
                self._charge(self._written)

    def _charge(self, tokens: int) -> None:
        if self._caller is not None and tokens and not self._loop.is_closed():
            spent = self._limiter.spend("tokens", self._caller, tokens)
            asyncio.run_coroutine_threadsafe(spent, self._loop)
