"""A row of a batch job through a model that answers in one piece, in the batches that also answer people."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Hashable
from typing import Protocol, TypeAlias

from service.models.layout import ModelKind
from service.predictors.errors import PredictionBusy, PredictionError, WrongKind
from service.predictors.predictor import OneShot, Output
from streaming.errors import EngineDown, EngineLoading, EngineUnavailable, UnknownModel
from uploads.batch import BatchOptions, PredictRow, RowFailed
from uploads.errors import ModelUnavailable, ProcessingFailed
from uploads.rows import Outcome
from uploads.worker import JobInterrupted

TEXT_KINDS: frozenset[ModelKind] = frozenset({"embedding", "classifier", "tagger"})
PAUSE_S = 1.0  # while the model loads, or people have taken its queue
KindOf: TypeAlias = Callable[[str], ModelKind]


class Answer(Protocol):
    @property
    def output(self) -> Output: ...


class OneShotRows:
    """`uploads.batch.PredictRow`."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[OneShot]],
        answer: Callable[[OneShot, Hashable, str], Awaitable[Answer]],
    ) -> None:
        self._find = find
        self._answer = answer

    async def __call__(self, owner: str, text: str, options: BatchOptions) -> Outcome:
        while True:
            try:
                model = await self._find(options.model)
                answered = await self._answer(model, model.read({"text": text}), owner)
                return outcome_of(answered.output)
            except (EngineLoading, PredictionBusy):
                await asyncio.sleep(PAUSE_S)
            except (UnknownModel, WrongKind) as error:
                raise ProcessingFailed(error.message) from error
            except EngineDown as error:
                raise ModelUnavailable(error.message) from error
            except EngineUnavailable as error:  # the service leaves
                raise JobInterrupted from error
            except PredictionError as error:
                raise RowFailed(error.code, error.message) from error


class ModelRows:
    """`uploads.batch.PredictRow` for a model of any kind that answers a text."""

    def __init__(self, kind_of: KindOf, language: PredictRow, one_shot: PredictRow) -> None:
        self._kind_of = kind_of
        self._language = language
        self._one_shot = one_shot

    async def __call__(self, owner: str, text: str, options: BatchOptions) -> Outcome:
        try:
            predict = self._one_shot if self._kind_of(options.model) in TEXT_KINDS else self._language
            return await predict(owner, text, options)
        except (UnknownModel, WrongKind) as error:  # the list of models has changed since the job was taken
            raise ProcessingFailed(error.message) from error


def outcome_of(output: Output) -> Outcome:
    """A prediction in words as it is, with the model's confidence in it; whatever else it says, as JSON."""
    prediction = output.get("prediction")
    if isinstance(prediction, str):
        return Outcome(prediction, output.get("confidence"))
    values = [*output.values()]
    return Outcome(json.dumps(values[0] if len(values) == 1 else output, ensure_ascii=False))


def check_of(kind_of: KindOf, check_language: Callable[[str], object]) -> Callable[[str], None]:
    """What a job's model is asked for before the job is taken. Raises `UnknownModel`, `WrongKind` and so on."""

    def check(name: str) -> None:
        if kind_of(name) not in TEXT_KINDS:
            check_language(name)

    return check
