"""Reads the fields of a record: a checked value, or `InvalidRecord`, which names the field."""

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

from service.predictors.errors import InvalidRecord
from service.predictors.limits import RecordLimits
from service.predictors.predictor import Record

Field: TypeAlias = tuple[str | int, ...]
TOLD_MAX = 20  # wrong fields that one refusal lists


def refuse_misnamed(record: Record, known: Iterable[str], required: Iterable[str]) -> None:
    """Both sides of a misspelled name are told at once."""
    unknown = [wrong((name,), "Extra inputs are not permitted", "extra_forbidden") for name in record.keys() - {*known}]
    refuse_all([*unknown, *(wrong((name,), "Field required", "missing") for name in required if name not in record)])


def refuse_all(found: Iterable[InvalidRecord]) -> None:
    """One refusal that names them all, in a fixed order."""
    told = sorted(found, key=lambda one: str(one.field))[:TOLD_MAX]
    if told:
        raise InvalidRecord(told[0].field, told[0].message, told[0].kind, tuple(told[1:]))


def wrong(field: Field, message: str, kind: str) -> InvalidRecord:
    return InvalidRecord(field, message, kind)


def number_of(value: Any, field: Field, limits: RecordLimits) -> float:
    """`true` is no number, although Python says so."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise wrong(field, "Input should be a valid number", "float_type")
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(field, "Input should be a finite number", "finite_number")
    if abs(value) > limits.max_number:
        raise wrong(field, f"Input should be at most {limits.max_number:g} away from 0", "number_too_large")
    return float(value)


def list_of(value: Any, field: Field) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(field, "Input should be a valid list", "list_type")
    return value


def text_of(value: Any, field: Field, max_chars: int) -> str:
    """Not blank, and what UTF-8 can carry."""
    text = string_of(value, field, max_chars)
    if not text.strip():
        raise wrong(field, "must not be blank", "value_error")
    return text


def string_of(value: Any, field: Field, max_chars: int) -> str:
    if not isinstance(value, str):
        raise wrong(field, "Input should be a valid string", "string_type")
    if len(value) > max_chars:
        raise wrong(field, f"String should have at most {max_chars} characters", "string_too_long")
    if "\0" in value:
        raise wrong(field, "must not contain NUL", "value_error")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong(field, "must not contain lone surrogates", "value_error") from None
    return value
