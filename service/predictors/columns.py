"""What a fitted scikit-learn model wants to be given: its columns, read from the model itself."""

from collections.abc import Iterator, Sequence
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from service.predictors.tabular import Column

VECTORIZERS = (CountVectorizer, HashingVectorizer)  # TfidfVectorizer is one of the first
TEXT_COLUMN = "text"


def reads_text(model: Any) -> bool:
    """Whether it starts from bare texts, not from rows."""
    return isinstance(first_step(model), VECTORIZERS)


def columns_of(model: Any, names: Sequence[str] | None) -> tuple[Column, ...]:
    """`names` are those of the configuration, which go before the model's own. Raises `ValueError`."""
    if reads_text(model):
        return (Column(TEXT_COLUMN, "string"),)
    own = getattr(model, "feature_names_in_", None)
    count = int(getattr(model, "n_features_in_", len(names or ())))
    found = [str(name) for name in own] if own is not None else [f"feature_{place + 1}" for place in range(count)]
    if names is not None and len(names) != count:
        raise ValueError(f"it takes {count} features, and the configuration names {len(names)}")
    chosen = list(names or found)
    strings = {place: choices for place, choices in string_columns(first_step(model), range(count), found)}
    may_be_missing = takes_missing(first_step(model))
    return tuple(
        Column(name, "string", strings[place]) if place in strings else Column(name, may_be_missing=may_be_missing)
        for place, name in enumerate(chosen)
    )


def first_step(model: Any) -> Any:
    while isinstance(model, Pipeline) and model.steps:
        model = model.steps[0][1]
    return model


def takes_missing(step: Any) -> bool:
    if isinstance(step, ColumnTransformer):
        return all(takes_missing(first_step(part)) for _, part, _ in step.transformers_ if part != "drop")
    return not isinstance(step, str) and bool(get_tags(step).input_tags.allow_nan)


def string_columns(step: Any, places: Sequence[int], names: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Which of the columns are strings, with the only ones that are taken where the step refuses all others."""
    if isinstance(step, ColumnTransformer):
        for _, part, selected in step.transformers_:
            yield from string_columns(first_step(part), places_of(selected, names), names)
    elif isinstance(step, VECTORIZERS):
        yield from ((place, ()) for place in places)
    else:
        refuses = getattr(step, "handle_unknown", None) == "error"
        for place, known in zip(places, getattr(step, "categories_", ()), strict=False):
            if known.dtype.kind in "OU" and all(isinstance(one, str) for one in known):
                yield place, tuple(known) if refuses else ()


def places_of(selected: Any, names: list[str]) -> list[int]:
    """A column transformer keeps its columns as names, places, a slice or a mask, or one of them alone."""
    if callable(selected):
        return []
    if isinstance(selected, slice):
        return list(range(len(names)))[selected]
    listed = [selected] if isinstance(selected, str | int) else list(selected)
    if listed and all(isinstance(one, bool) or type(one).__name__ == "bool" for one in listed):
        return [place for place, is_chosen in enumerate(listed) if is_chosen]
    return [names.index(one) if isinstance(one, str) else int(one) % len(names) for one in listed]
