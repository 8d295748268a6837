"""Who still needs an engine. One that was replaced is closed when nobody holds it any more, not a moment before.

Whoever finds a predictor gets a lease with it, and so does what the predictor's engine runs: the lease ends when the
last of them is forgotten. Nobody has to give it back, so nobody can forget to.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from streaming.engine import Engine, EngineLoad, EngineState
from streaming.generation import Generation
from streaming.log import Log
from streaming.predictor import Predictor, TextRequest


class Lease:
    """Holds its place for as long as it lives."""

    __slots__ = ("__weakref__",)


class Leases:
    """Those of one loaded model."""

    def __init__(self) -> None:
        self._held: weakref.WeakSet[Lease] = weakref.WeakSet()

    def take(self) -> Lease:
        lease = Lease()
        self._held.add(lease)
        return lease

    def __len__(self) -> int:
        return len(self._held)


@dataclass(frozen=True, slots=True)
class LeasedEngine:
    """A `streaming.engine.Engine` that stays open while this is held."""

    engine: Engine
    lease: Lease

    @property
    def state(self) -> EngineState:
        return self.engine.state

    @property
    def load(self) -> EngineLoad:
        return self.engine.load

    def submit(self, generation: Generation, log: Log) -> None:
        self.engine.submit(generation, log)

    def cancel(self, stream_id: str) -> None:
        self.engine.cancel(stream_id)

    def close(self, grace_s: float) -> None:
        self.engine.close(grace_s)


@dataclass(frozen=True, slots=True)
class LeasedPredictor:
    """A `streaming.predictor.Predictor` whose engine stays open while this is held."""

    predictor: Predictor
    lease: Lease

    @property
    def name(self) -> str:
        return self.predictor.name

    @property
    def version(self) -> str:
        return self.predictor.version

    @property
    def engine(self) -> LeasedEngine:
        return LeasedEngine(self.predictor.engine, self.lease)

    @property
    def context_tokens(self) -> int:
        return self.predictor.context_tokens

    async def count_tokens(self, texts: Sequence[str]) -> Sequence[int]:
        return await self.predictor.count_tokens(texts)

    async def prepare(self, request: TextRequest, owner: str) -> Generation:
        return await self.predictor.prepare(request, owner)
