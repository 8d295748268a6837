"""A row of a batch job through a model that answers in one piece, in the batches that also answer people."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Protocol, TypeAlias

from service.models.layout import ModelKind
from service.predictors.errors import InvalidRecord, PredictionBusy, PredictionError, WrongKind
from service.predictors.predictor import OneShot, Output, Record
from service.predictors.tabular import TabularModel, record_of_cells
from streaming.errors import EngineDown, EngineLoading, EngineUnavailable, UnknownModel
from uploads.batch import BatchOptions, Given, PredictRow, RowFailed
from uploads.errors import ModelUnavailable, ProcessingFailed
from uploads.rows import Outcome, RowInput
from uploads.worker import JobInterrupted

TEXT_KINDS: frozenset[ModelKind] = frozenset({"embedding", "classifier", "tagger"})
PAUSE_S = 1.0  # while the model loads, or people have taken its queue
KindOf: TypeAlias = Callable[[str], ModelKind]
PredictText: TypeAlias = Callable[[str, str, BatchOptions], Awaitable[Outcome]]


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

    async def __call__(self, owner: str, given: Given, options: BatchOptions) -> Outcome:
        while True:
            try:
                model = await self._find(options.model)
                answered = await self._answer(model, model.read(record_of(model, given)), owner)
                return outcome_of(answered.output)
            except (EngineLoading, PredictionBusy):
                await asyncio.sleep(PAUSE_S)
            except (UnknownModel, WrongKind) as error:
                raise ProcessingFailed(error.message) from error
            except EngineDown as error:
                raise ModelUnavailable(error.message) from error
            except EngineUnavailable as error:  # the service leaves
                raise JobInterrupted from error
            except InvalidRecord as error:
                raise RowFailed(error.code, f"{'.'.join(map(str, error.field))}: {error.message}") from error
            except PredictionError as error:
                raise RowFailed(error.code, error.message) from error


class ModelRows:
    """`uploads.batch.PredictRow` for a model of any kind that answers rows."""

    def __init__(self, kind_of: KindOf, language: PredictText, one_shot: PredictRow) -> None:
        self._kind_of = kind_of
        self._language = language
        self._one_shot = one_shot

    async def __call__(self, owner: str, given: Given, options: BatchOptions) -> Outcome:
        """The list of models may have changed since the job was taken."""
        try:
            kind = self._kind_of(options.model)
            if isinstance(given, str) == (kind == "tabular"):
                raise ProcessingFailed(f"The model {options.model} is of another kind than when the job was taken.")
            if isinstance(given, str) and kind not in TEXT_KINDS:
                return await self._language(owner, given, options)
            return await self._one_shot(owner, given, options)
        except (UnknownModel, WrongKind) as error:
            raise ProcessingFailed(error.message) from error


def record_of(model: OneShot, given: Given) -> Record:
    if isinstance(given, str):
        return {"text": given}
    if isinstance(model, TabularModel):
        return record_of_cells(model.estimator.columns, given)
    raise WrongKind(f"The model {model.name} takes no columns.")


def outcome_of(output: Output) -> Outcome:
    """A prediction in words as it is, with the model's confidence in it; whatever else it says, as JSON."""
    if "prediction" in output:
        prediction = output["prediction"]
        return Outcome(in_words(prediction), output.get("confidence", share_of(prediction, output)))
    values = [*output.values()]
    return Outcome(in_words(values[0] if len(values) == 1 else output))


def in_words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def share_of(prediction: Any, output: Output) -> float | None:
    """The probability of the class that was chosen, where the model tells those of all."""
    probabilities: Mapping[str, float] = output.get("probabilities", {})
    return probabilities.get(str(prediction))


def check_of(kind_of: KindOf, check_language: Callable[[str], object]) -> Callable[[str], RowInput]:
    """What a job's model is asked for before the job is taken. Raises `UnknownModel`, `WrongKind` and so on."""

    def check(name: str) -> RowInput:
        kind = kind_of(name)
        if kind == "tabular":
            return "columns"
        if kind not in TEXT_KINDS:
            check_language(name)
        return "text"

    return check
