"""The one table from domain errors to statuses, and what of an error reaches the wire."""

import json
from collections.abc import Iterator

import pytest

from service.access.errors import AccessError
from service.errors import STATUSES, DomainError, domain_problem, field_error
from service.models.errors import ReloadRefused
from service.predictors.errors import InvalidRecord, PredictionBusy, PredictionError, WrongLength
from streaming.errors import Overloaded, StreamingError
from uploads.errors import UploadsError


def kinds(root: type[DomainError]) -> Iterator[type[DomainError]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def domain_errors() -> list[type[DomainError]]:
    return [
        *kinds(StreamingError),
        *kinds(UploadsError),
        *kinds(PredictionError),
        *kinds(ReloadRefused),
        *kinds(AccessError),
    ]


def make(kind: type[DomainError]) -> DomainError:
    if issubclass(kind, Overloaded | PredictionBusy):
        return kind("Full.", 3)
    if issubclass(kind, InvalidRecord):
        return kind(("a", 0), "Wrong.", "odd", (InvalidRecord(("b",), "Missing.", "missing"),))
    return kind("Told.")


def test_every_domain_error_has_a_status() -> None:
    assert set(domain_errors()) == set(STATUSES)


def test_every_domain_error_has_a_code_of_its_own() -> None:
    codes = [kind.code for kind in domain_errors()]
    assert len(codes) == len(set(codes))
    assert all(code.replace("_", "").isalpha() and code.islower() for code in codes)


@pytest.mark.parametrize("kind", list(STATUSES))
def test_a_domain_error_is_a_problem(kind: type[DomainError]) -> None:
    answer = domain_problem({"state": {"request_id": "r1"}}, make(kind))
    problem = json.loads(bytes(answer.body))
    assert answer.media_type == "application/problem+json"
    assert (problem["status"], problem["code"], problem["request_id"]) == (STATUSES[kind], kind.code, "r1")
    assert ("retry-after" in answer.headers) == (STATUSES[kind] in (429, 503))
    if kind in (Overloaded, PredictionBusy):
        assert answer.headers["retry-after"] == "3"


@pytest.mark.parametrize("kind", [InvalidRecord, WrongLength])
def test_a_wrong_record_names_every_wrong_field(kind: type[InvalidRecord]) -> None:
    error = make(kind)
    assert isinstance(error, InvalidRecord)
    problem = json.loads(bytes(domain_problem({"state": {}}, error.within("body")).body))
    assert problem["code"] == kind.code
    assert problem["detail"] == "body.a.0: Wrong."
    assert problem["errors"] == [
        {"loc": ["body", "a", 0], "msg": "Wrong.", "type": "odd"},
        {"loc": ["body", "b"], "msg": "Missing.", "type": "missing"},
    ]


def test_a_field_name_that_no_utf8_can_carry_is_made_printable() -> None:
    error = field_error({"loc": ("body", "\ud800" + "x" * 500), "msg": "m", "type": "t", "input": "secret"})
    assert json.loads(error.model_dump_json()) == {"loc": ["body", "?" + "x" * 99], "msg": "m", "type": "t"}


def test_what_a_validator_of_ours_says_reaches_the_wire_in_its_own_words() -> None:
    error = field_error({"loc": ("body", "text"), "msg": "Value error, must not be blank", "type": "value_error"})
    assert error.msg == "must not be blank"
