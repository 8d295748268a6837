"""What an entry of `models.toml` may say beyond where its files come from, and which kind may say it."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from service.models.errors import InvalidModels
from service.models.layout import ModelKind

FEATURES_MAX = 10_000
LABELS_MAX = 1_000
WEIGHT_MAX = 1e100
DEFAULT_WEIGHTS = (0.25, -0.5, 1.25, 0.0)


def as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Word: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Sentence: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=2000)]
Words: TypeAlias = Annotated[tuple[Word, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=FEATURES_MAX)]
Sentences: TypeAlias = Annotated[tuple[Sentence, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=1000)]
Weight: TypeAlias = Annotated[float, Field(ge=-WEIGHT_MAX, le=WEIGHT_MAX)]
Weights: TypeAlias = Annotated[
    tuple[Weight, ...], BeforeValidator(as_tuple), Field(min_length=1, max_length=FEATURES_MAX)
]

WHO_MAY_SAY: Mapping[str, tuple[ModelKind, ...]] = {
    "weights": ("linear",),
    "features": ("tabular",),
    "labels": ("classifier", "tabular"),
    "descriptions": ("classifier",),
    "allow_pickle": ("tabular",),
    "trusted_types": ("tabular",),
}
WITHOUT_SOURCE: tuple[ModelKind, ...] = ("linear", "image")


class KindOptions(BaseModel):
    """`labels` of a classifier make it choose between any labels, by what its encoder finds alike; `descriptions` say
    with sentences what such a label means. `trusted_types` are those of a skops file that its library does not know.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    weights: Weights | None = None
    features: Words | None = None
    labels: Words | None = None
    descriptions: dict[Word, Sentences] | None = None
    allow_pickle: bool = False
    trusted_types: Words | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What is not as if nobody had said it."""
        options = {name: getattr(self, name) for name in KindOptions.model_fields}
        return {name: value for name, value in options.items() if value not in (None, False)}


def check_options(options: KindOptions, kind: ModelKind, sha256: str | None, where: str) -> None:
    for name in options.said:
        if kind not in WHO_MAY_SAY[name]:
            raise InvalidModels(f"{where} {name} is for models of kind {' or '.join(WHO_MAY_SAY[name])}")
    if options.allow_pickle and sha256 is None:
        raise InvalidModels(f"{where} allow_pickle needs the sha256 of the one file that may run code here")
    if options.labels is not None and len(set(options.labels)) < max(2, len(options.labels)):
        raise InvalidModels(f"{where} labels are at least two, and each stands there once")
    if options.descriptions is not None and not set(options.descriptions) <= set(options.labels or ()):
        raise InvalidModels(f"{where} descriptions are of labels, and these are missing in them")


def layout_of(kind: ModelKind, options: KindOptions) -> ModelKind:
    """Whose files these are: a classifier for any labels is made of an encoder."""
    return "embedding" if kind == "classifier" and options.labels is not None else kind
