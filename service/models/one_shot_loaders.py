"""How the models are opened that answer in one piece. Each imports its libraries only when it is called, and blocks."""

from collections.abc import Mapping
from typing import Protocol

from service.models.config import ModelEntry
from service.models.identity import version_without_files
from service.models.kinds import DEFAULT_WEIGHTS
from service.models.layout import ModelKind
from service.models.prepare.table import ONNX, PICKLE, SKOPS
from service.models.store import PreparedModel
from service.predictors.limits import RecordLimits
from service.predictors.predictor import OneShot
from service.settings import Settings
from streaming.errors import EngineDown


class LoadOneShot(Protocol):
    """`prepared` is None for an entry without a source. Raises `EngineDown`."""

    def __call__(self, entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> OneShot: ...


def record_limits(settings: Settings) -> RecordLimits:
    given = settings.predictions
    return RecordLimits(
        max_text_chars=given.max_text_chars,
        max_features=given.max_features,
        max_number=given.max_number,
        max_value_chars=given.max_value_chars,
        max_labels=given.max_labels,
        max_label_chars=given.max_label_chars,
    )


def load_linear(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> OneShot:
    from service.predictors.linear import LinearModel  # noqa: PLC0415  as all of these: only when it is wanted

    weights = entry.weights or DEFAULT_WEIGHTS
    return LinearModel(entry.name, version_without_files(entry), weights, record_limits(settings))


def load_tabular(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> OneShot:
    from service.predictors.tabular import Estimator, TabularModel  # noqa: PLC0415

    found = needed(prepared)
    estimator: Estimator
    if (path := found.path / ONNX).is_file():
        from service.predictors.onnx_estimator import load_onnx  # noqa: PLC0415

        estimator = load_onnx(path, entry.name, entry.features, entry.labels)
    elif (path := found.path / SKOPS).is_file():
        from service.predictors.sklearn_estimator import load_skops  # noqa: PLC0415

        estimator = load_skops(path, entry.name, entry.trusted_types or (), entry.features)
    else:
        from service.predictors.sklearn_estimator import load_pickle  # noqa: PLC0415

        allowed = entry.sha256 if entry.allow_pickle else None
        estimator = load_pickle(found.path / PICKLE, entry.name, allowed, entry.features)
    return TabularModel(entry.name, found.version, estimator, record_limits(settings))


def load_classifier(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> OneShot:
    found = needed(prepared)
    limits = record_limits(settings)
    if entry.labels is None:
        from service.predictors.classifier import load_text_classifier  # noqa: PLC0415

        return load_text_classifier(found.path, name=entry.name, version=found.version, limits=limits)
    from service.predictors.zero_shot import load_zero_shot  # noqa: PLC0415

    return load_zero_shot(
        found.path,
        name=entry.name,
        version=found.version,
        labels=entry.labels,
        descriptions=entry.descriptions or {},
        limits=limits,
    )


def load_embedding(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> OneShot:
    from service.predictors.embedding import load_embedding as load  # noqa: PLC0415

    found = needed(prepared)
    return load(found.path, name=entry.name, version=found.version, limits=record_limits(settings))


def load_tagger(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> OneShot:
    from service.predictors.tagger import load_tagger as load  # noqa: PLC0415

    found = needed(prepared)
    return load(found.path, name=entry.name, version=found.version, limits=record_limits(settings))


def load_image(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> OneShot:
    """Text recognition, which has no files, is made where its processes are."""
    from service.predictors.image import load_image_classifier  # noqa: PLC0415

    found = needed(prepared)
    return load_image_classifier(found.path, name=entry.name, version=found.version, limits=settings.documents.limits)


def needed(prepared: PreparedModel | None) -> PreparedModel:
    if prepared is None:
        raise EngineDown("The model has no files.")
    return prepared


LOADERS: Mapping[ModelKind, LoadOneShot] = {  # a new kind of model gets its line here
    "linear": load_linear,
    "tabular": load_tabular,
    "embedding": load_embedding,
    "classifier": load_classifier,
    "tagger": load_tagger,
    "image": load_image,
}
