"""Inputs through a one-shot model so that one that it cannot bear fails alone. Blocks, and knows no event loop."""

import logging
import traceback
from collections.abc import Sequence
from typing import Any

from service.predictors.errors import PredictionError, PredictionFailed
from service.predictors.predictor import OneShot, Output

_log = logging.getLogger("headwater.predictions")


def run_together(predictor: OneShot, inputs: Sequence[Any]) -> list[Output | PredictionError]:
    """One outcome for each input, in their order. What raises together is run one by one."""
    if len(inputs) > 1:
        try:
            return list(checked(predictor.predict(inputs), len(inputs)))
        except (Exception, SystemExit) as error:  # noqa: BLE001  one input is at fault, and only it shall fail
            _log.warning("model %s failed on %d inputs together: %s", predictor.name, len(inputs), told(error))
    return [outcome_alone(predictor, one) for one in inputs]


def outcome_alone(predictor: OneShot, record_input: Any) -> Output | PredictionError:
    try:
        return run_alone(predictor, record_input)
    except PredictionError as error:
        return error


def run_alone(predictor: OneShot, record_input: Any) -> Output:
    """Raises `PredictionError`, whatever the model raises."""
    try:
        return checked(predictor.predict([record_input]), 1)[0]
    except PredictionError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  a model may raise anything
        _log.error("model %s failed on an input: %s", predictor.name, told(error))
        raise PredictionFailed(f"The model {predictor.name} failed on this input.") from None


def checked(outputs: Sequence[Output], wanted: int) -> Sequence[Output]:
    if len(outputs) != wanted:
        raise RuntimeError(f"{len(outputs)} outputs for {wanted} inputs")
    return outputs


def told(error: BaseException) -> str:
    """What went wrong and where, without the error's own words: a library may quote the input in them."""
    places = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {places[-1].filename}:{places[-1].lineno}" if places else type(error).__name__
