"""A row of a batch job through the engine that also answers people, behind them in every line."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from service.predictors.errors import WrongKind
from streaming.collect import Answer, collect
from streaming.errors import (
    Cancelled,
    EngineDown,
    EngineLoading,
    EngineUnavailable,
    GenerationFailed,
    InvalidGeneration,
    Overloaded,
    UnknownModel,
)
from streaming.log import Log
from streaming.predictor import Message, Predictor, TextRequest
from uploads.batch import BatchOptions, RowFailed
from uploads.errors import ModelUnavailable, ProcessingFailed
from uploads.rows import Outcome
from uploads.worker import JobInterrupted

LOOK_AGAIN_S = 0.5  # at a model that is loading
BUSY_PAUSE_S = 1.0  # people have taken all places; the queue's own estimate is for them


class RowPredictor:
    """`uploads.batch.PredictRow`. `max_chars` as for a prompt of `/predict`."""

    def __init__(self, find: Callable[[str], Predictor], make_log: Callable[[], Log], max_chars: int) -> None:
        self._find = find
        self._make_log = make_log
        self._max_chars = max_chars

    async def __call__(self, owner: str, text: str, options: BatchOptions) -> Outcome:
        if len(text) > self._max_chars:
            raise RowFailed("prompt_too_long", f"The text has {len(text)} characters; {self._max_chars} are taken.")
        while True:
            try:
                answer = await self._answer(self._find(options.model), owner, text, options)
                return Outcome(answer.text, answer.finished.confidence)
            except Overloaded:
                await asyncio.sleep(BUSY_PAUSE_S)
            except EngineLoading:
                await asyncio.sleep(LOOK_AGAIN_S)
            except (UnknownModel, WrongKind) as error:
                raise ProcessingFailed(error.message) from error
            except EngineDown as error:
                raise ModelUnavailable(error.message) from error
            except (EngineUnavailable, Cancelled) as error:  # the service leaves
                raise JobInterrupted from error
            except (InvalidGeneration, GenerationFailed) as error:
                raise RowFailed(error.code, error.message) from error

    async def _answer(self, predictor: Predictor, owner: str, text: str, options: BatchOptions) -> Answer:
        request = TextRequest(
            [Message("user", text)],
            is_chat=False,
            model=options.model,
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            seed=options.seed,
            wants_confidence=True,
        )
        generation = replace(await predictor.prepare(request, owner), priority="background")
        log = self._make_log()
        predictor.engine.submit(generation, log)
        try:
            return await collect(log)
        finally:
            if not log.is_closed:
                predictor.engine.cancel(generation.stream_id)
