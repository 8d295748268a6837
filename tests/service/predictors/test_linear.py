"""The linear model: its sum, its bounds, and what it says about a record that is none."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.predictors.errors import InvalidRecord, WrongLength
from service.predictors.limits import RecordLimits
from service.predictors.linear import LinearModel

WEIGHTS = (0.25, -0.5, 1.25, 0.0)
MODEL = LinearModel("linear", "v1", WEIGHTS)
NUMBERS = st.one_of(st.floats(-1e100, 1e100), st.integers(-(10**100), 10**100))

NO_NUMBERS: list[Any] = ["3", True, False, None, [], {}, math.nan, math.inf, -math.inf, 1e101, 10**400]
NO_SCALES = [value for value in NO_NUMBERS if value is not None]  # null is what is not given


def predicted(record: dict[str, Any]) -> Any:
    return MODEL.predict([MODEL.read(record)])[0]


def test_the_answer_is_the_weighted_sum_times_the_scale() -> None:
    assert predicted({"features": [1, 2, 3, 4]}) == {"prediction": 3.0, "status": "success"}
    assert predicted({"features": [1.0, 2.0, 3.0, 4.0], "scale_factor": 2})["prediction"] == 6.0


@given(st.lists(NUMBERS, min_size=4, max_size=4), st.floats(0, 1e100, exclude_min=True))
def test_every_record_within_the_bounds_has_a_finite_answer(features: list[float], scale: float) -> None:
    assert math.isfinite(predicted({"features": features, "scale_factor": scale})["prediction"])


@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=4), max_size=8))
def test_company_changes_no_bit(rows: list[list[float]]) -> None:
    inputs = [MODEL.read({"features": row}) for row in rows]
    assert MODEL.predict(inputs) == [MODEL.predict([one])[0] for one in inputs]


def test_equal_records_read_as_equal_inputs() -> None:
    one, other = MODEL.read({"features": [1, 2, 3, 4]}), MODEL.read({"features": [1.0, 2, 3, 4], "scale_factor": 1})
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("features", [[], [1], [1, 2, 3], [1, 2, 3, 4, 5], [0] * 20_000])
def test_a_list_of_another_length_says_which_is_wanted(features: list[float]) -> None:
    with pytest.raises(WrongLength, match="should have 4 items") as refused:
        MODEL.read({"features": features})
    assert refused.value.field == ("features",)


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({}, ("features",)),
        ({"features": None}, ("features",)),
        ({"features": {"0": 1}}, ("features",)),
        ({"features": "1234"}, ("features",)),
        *(({"features": [1, 2, value, 4]}, ("features", 2)) for value in NO_NUMBERS),
        *(({"features": [1, 2, 3, 4], "scale_factor": value}, ("scale_factor",)) for value in (0, -1, *NO_SCALES)),
        ({"features": [1, 2, 3, 4], "scale": 1}, ("scale",)),
    ],
)
def test_a_wrong_record_names_its_field(record: dict[str, Any], field: tuple[str | int, ...]) -> None:
    with pytest.raises(InvalidRecord) as refused:
        MODEL.read(record)
    assert refused.value.field == field
    assert not isinstance(refused.value, WrongLength)


def test_all_unknown_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidRecord) as refused:
        MODEL.read({"features": [1, 2, 3, 4], "b": 1, "a": 1})
    assert [one.field for one in (refused.value, *refused.value.others)] == [("a",), ("b",)]


def test_the_schema_says_what_is_read() -> None:
    model = LinearModel("linear", "v1", (1.0, 2.0), RecordLimits(max_number=5))
    schema = model.input_schema
    assert schema["properties"]["features"] == {
        "type": "array", "items": {"type": "number", "minimum": -5, "maximum": 5}, "minItems": 2, "maxItems": 2,
    }  # fmt: skip
    for example in schema["examples"]:
        model.read(example)
