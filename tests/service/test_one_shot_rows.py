"""Rows of a batch job that a model answers in one piece, with the real batches and cache."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.one_shot_rows import ModelRows, OneShotRows, check_of, outcome_of
from service.predictors.errors import PredictionBusy, PredictionFailed
from service.predictors.predictor import OneShot
from streaming.errors import EngineDown, EngineLoading, ShuttingDown, UnknownModel
from tests.service.one_shots import Reversing
from uploads.batch import BatchOptions, Given, RowFailed
from uploads.errors import ModelUnavailable, ProcessingFailed
from uploads.rows import Outcome
from uploads.worker import JobInterrupted

OPTIONS = BatchOptions(model="reversing")


@dataclass(frozen=True)
class Answered:
    output: Mapping[str, Any]


@dataclass
class Service:
    """Finds one model and answers at once; first come its troubles, one at a time."""

    troubles: list[Exception] = field(default_factory=list)
    answered: list[tuple[Any, str]] = field(default_factory=list)

    async def find(self, name: str) -> OneShot:
        return Reversing()

    async def answer(self, model: OneShot, given: Any, owner: str) -> Answered:
        if self.troubles:
            raise self.troubles.pop(0)
        self.answered.append((given, owner))
        return Answered(model.predict([given])[0])

    async def row(self, text: str) -> Outcome:
        return await OneShotRows(self.find, self.answer)("ann", text, OPTIONS)


async def test_a_row_is_asked_as_its_owner_and_answered_as_json() -> None:
    service = Service()
    outcome = await service.row("ab")
    assert json.loads(outcome.prediction or "") == {"text": "ba", "version": "1"}
    assert service.answered == [("ab", "ann")]


async def test_it_waits_for_a_model_that_loads_and_for_people_who_ask() -> None:
    service = Service([EngineLoading("Loading."), PredictionBusy("Busy.", 1)])
    async with asyncio.timeout(30):
        assert (await service.row("ab")).error is None
    assert not service.troubles


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (PredictionFailed("It cannot be borne."), RowFailed),
        (UnknownModel("No such model."), ProcessingFailed),
        (EngineDown("It is down."), ModelUnavailable),
        (ShuttingDown("Leaving."), JobInterrupted),
    ],
)
async def test_what_goes_wrong_costs_the_row_the_job_or_the_attempt(
    trouble: Exception, expected: type[Exception]
) -> None:
    with pytest.raises(expected):
        await Service([trouble]).row("ab")


@pytest.mark.parametrize(
    ("output", "outcome"),
    [
        ({"prediction": "good", "confidence": 0.75, "scores": {"good": 0.75, "bad": 0.25}}, Outcome("good", 0.75)),
        ({"embedding": [0.5, 1.0]}, Outcome("[0.5, 1.0]")),
        ({"prediction": 2.5}, Outcome("2.5")),
        ({"prediction": 1, "probabilities": {"0": 0.25, "1": 0.75}}, Outcome("1", 0.75)),
    ],
)
def test_a_prediction_is_in_words_or_json(output: Mapping[str, Any], outcome: Outcome) -> None:
    assert outcome_of(output) == outcome


async def test_each_kind_of_model_has_its_way() -> None:
    async def said(way: str, given: Given) -> Outcome:
        return Outcome(f"{way} {given}")

    rows = ModelRows(
        {"reversing": "classifier", "default": "language", "house": "tabular"}.__getitem__,  # type: ignore[arg-type]  # known names only
        lambda owner, text, options: said("written", text),
        lambda owner, given, options: said("classified", given),
    )
    assert (await rows("ann", "a", OPTIONS)).prediction == "classified a"
    assert (await rows("ann", "a", BatchOptions(model="default"))).prediction == "written a"
    house = BatchOptions(model="house")
    assert (await rows("ann", {"area": 1}, house)).prediction == "classified {'area': 1}"
    with pytest.raises(ProcessingFailed, match="another kind"):
        await rows("ann", "a", house)
    with pytest.raises(ProcessingFailed, match="another kind"):
        await rows("ann", {"area": 1}, OPTIONS)


async def test_a_job_whose_model_is_gone_fails() -> None:
    def gone(name: str) -> Any:
        raise UnknownModel(f"There is no model {name}.")

    async def never(owner: str, given: Given, options: BatchOptions) -> Outcome:
        raise AssertionError

    with pytest.raises(ProcessingFailed, match="no model reversing"):
        await ModelRows(gone, never, never)("ann", "a", OPTIONS)


def test_only_a_language_model_must_be_there_when_the_job_is_taken() -> None:
    def refuse(name: str) -> None:
        raise EngineLoading(name)

    assert check_of(lambda name: "embedding", refuse)("any") == "text"
    assert check_of(lambda name: "tabular", refuse)("any") == "columns"
    for kind in ("language", "linear"):
        with pytest.raises(EngineLoading):
            check_of(lambda name, kind=kind: kind, refuse)("any")  # type: ignore[misc]
