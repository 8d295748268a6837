"""Asks a model what its entry knows the answers to, before anybody else may. Raises `SelfTestFailed`."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

from service.models.config import SelfTest
from service.models.errors import SelfTestFailed
from service.predictors.errors import PredictionError
from service.predictors.predictor import OneShot, Record
from streaming.collect import collect
from streaming.errors import StreamingError
from streaming.logs.memory import MemoryLog, Waker
from streaming.predictor import Message, Predictor, TextRequest

OWNER = "self-test"
ANSWER_TOKENS = 64
SIGN_OF_LIFE = SelfTest(input="Hello")  # for a language model that is to replace another one, whatever its entry says
SIGN_TOKENS = 4
TIMEOUT_S = 120.0
SHOWN_CHARS = 200


def check_one_shot(model: OneShot, tests: Sequence[SelfTest]) -> None:
    """Blocks."""
    for number, test in enumerate(tests, 1):
        try:
            outputs = model.predict([model.read(cast(Record, test.input))])  # models.toml has been checked
        except PredictionError as error:
            raise SelfTestFailed(f"{model.name}: self-test {number}: {error.message}") from error
        except Exception as error:
            raise SelfTestFailed(
                f"{model.name}: self-test {number}: the model raised {type(error).__name__}"
            ) from error
        if (difference := difference_of(test.output, outputs[0], test.tolerance)) is not None:
            raise SelfTestFailed(f"{model.name}: self-test {number}: {difference}")


async def check_language(predictor: Predictor, tests: Sequence[SelfTest]) -> None:
    waker = Waker(asyncio.get_running_loop())
    for number, test in enumerate(tests, 1):
        max_tokens = SIGN_TOKENS if test is SIGN_OF_LIFE else ANSWER_TOKENS
        asked = TextRequest(
            [Message("user", str(test.input))], is_chat=False, max_tokens=max_tokens, temperature=0.0, seed=0
        )
        log = MemoryLog(waker)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                generation = await predictor.prepare(asked, OWNER)
                predictor.engine.submit(generation, log)
                answer = await collect(log)
        except StreamingError as error:
            raise SelfTestFailed(f"{predictor.name}: self-test {number}: {error.message}") from error
        except TimeoutError:
            raise SelfTestFailed(f"{predictor.name}: self-test {number}: no answer in {TIMEOUT_S:g} s") from None
        if not answer.finished.usage.completion_tokens:
            raise SelfTestFailed(f"{predictor.name}: self-test {number}: the answer is empty")
        if test.output is not None and str(test.output) not in answer.text:
            found = answer.text[:SHOWN_CHARS]
            raise SelfTestFailed(f"{predictor.name}: self-test {number}: {test.output!r} is not in {found!r}")


def difference_of(expected: Any, found: Any, tolerance: float, where: str = "output") -> str | None:
    """None when all that is expected is there; more may be."""
    if expected is None:
        return None
    if isinstance(expected, Mapping):
        if not isinstance(found, Mapping):
            return f"{where} is no table"
        parts = [(f"{where}.{key}", expected[key], found.get(key)) for key in expected]
    elif isinstance(expected, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return f"{where} is no list of {len(expected)}"
        parts = [(f"{where}.{place}", one, found[place]) for place, one in enumerate(expected)]
    else:
        is_right = is_near(expected, found, tolerance) if is_number(expected) else found == expected
        return None if is_right else f"{where} is {shown(found)}, expected {shown(expected)}"
    told = (difference_of(one, other, tolerance, place) for place, one, other in parts)
    return next((one for one in told if one is not None), None)


def is_near(expected: float, found: Any, tolerance: float) -> bool:
    return is_number(found) and math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: Any) -> str:
    return repr(value)[:SHOWN_CHARS]
