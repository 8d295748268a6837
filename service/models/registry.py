"""The models that answer, of every kind. What changes is one reference to an immutable mapping; a request keeps what
it found."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from service.models.layout import ModelKind
from service.models.lease import LeasedPredictor, Leases
from service.predictors.errors import WrongKind
from service.predictors.predictor import OneShot
from streaming.errors import EngineDown, EngineLoading, EngineUnavailable, UnknownModel
from streaming.predictor import Predictor
from streaming.supervisor import SupervisedEngine

ModelState: TypeAlias = Literal["loading", "ready", "failed", "unloaded"]
HOW_TO_ASK: Mapping[ModelKind, str] = {
    "language": "POST /predict, POST /predict/{name} or GET /chat/stream",
    "linear": "POST /predict/{name} with features",
    "tabular": "POST /predict/{name} with the features that GET /models/{name} names",
    "embedding": "POST /embed",
    "classifier": "POST /classify or POST /predict/{name}",
    "tagger": "POST /predict/{name}",
    "image": "POST /upload-image",
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last load did not go well. `message` is written for whoever asks for the model."""

    code: str
    message: str
    at: float
    version: str | None = None


@dataclass(frozen=True, slots=True)
class LoadedLanguage:
    """`loaded_at` is in seconds since 1970."""

    predictor: Predictor
    loaded_at: float
    size_bytes: int
    leases: Leases = field(default_factory=Leases)

    @property
    def version(self) -> str:
        return self.predictor.version

    @property
    def is_broken(self) -> bool:
        """An engine may break after its model was loaded."""
        return self.predictor.engine.state not in ("ready", "draining", "closed")


@dataclass(frozen=True, slots=True)
class LoadedOneShot:
    model: OneShot
    loaded_at: float
    size_bytes: int

    @property
    def version(self) -> str:
        return self.model.version

    @property
    def is_broken(self) -> bool:
        return False


Loaded: TypeAlias = LoadedLanguage | LoadedOneShot


@dataclass(frozen=True, slots=True)
class Model:
    """What is known under one name.

    `loaded` goes on answering while another version is loaded, and when that fails. `failure` is that of the last
    load, None when it went well. `is_awaited` says that the service is not ready without it.
    """

    name: str
    kind: ModelKind
    is_awaited: bool = False
    loaded: Loaded | None = None
    is_loading: bool = False
    failure: Failure | None = None
    previous_version: str | None = None
    pinned_version: str | None = None

    @property
    def state(self) -> ModelState:
        if self.loaded is not None:
            return "failed" if self.loaded.is_broken else "ready"
        if self.is_loading:
            return "loading"
        return "unloaded" if self.failure is None else "failed"

    @property
    def reason(self) -> str | None:
        """Why it does not answer; None when it does, or would if somebody asked."""
        match self.state:
            case "loading":
                return f"model {self.name} is loading"
            case "failed" if self.loaded is None and self.failure is not None:
                return f"model {self.name} is not loaded: {self.failure.message}"
            case "failed":
                return f"the engine of model {self.name} is down{self._trouble}"
        return None

    @property
    def restarts(self) -> int:
        """How often its engine was replaced because it hung or died."""
        engine = self._supervised
        return 0 if engine is None else engine.restarts

    @property
    def _trouble(self) -> str:
        engine = self._supervised
        return "" if engine is None or engine.trouble is None else f": {engine.trouble}"

    @property
    def _supervised(self) -> SupervisedEngine | None:
        engine = self.loaded.predictor.engine if isinstance(self.loaded, LoadedLanguage) else None
        return engine if isinstance(engine, SupervisedEngine) else None

    @property
    def note(self) -> str | None:
        """What went wrong although it answers: another version could not be loaded."""
        if self.loaded is None or self.failure is None:
            return None
        return f"model {self.name} was not reloaded: {self.failure.message}"

    @property
    def how_to_ask(self) -> str:
        return HOW_TO_ASK[self.kind].format(name=self.name)


class Registry:
    """Changed on the event loop only, so two changes never start from the same mapping."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models: Mapping[str, Model] = MappingProxyType({model.name: model for model in models})

    @property
    def models(self) -> Mapping[str, Model]:
        return self._models

    def put(self, model: Model) -> None:
        self._models = MappingProxyType({**self._models, model.name: model})

    def find(self, name: str) -> Model:
        """Raises `UnknownModel`."""
        model = self._models.get(name)
        if model is None:
            raise UnknownModel("There is no model of this name.")
        return model

    def language(self, name: str) -> Predictor:
        """With a lease: its engine is not closed while the caller holds it. Raises as `one_shot` does."""
        model = self.find(name)
        match model.loaded:
            case LoadedLanguage(predictor=predictor, leases=leases):
                return LeasedPredictor(predictor, leases.take())
            case None if model.kind == "language":
                raise absence_of(model)
        raise WrongKind(f"The model {name} writes no text, it is of kind {model.kind}. Ask it by {model.how_to_ask}.")

    def one_shot(self, name: str) -> OneShot:
        """Raises `UnknownModel`, `WrongKind`, `EngineLoading` or `EngineDown`."""
        model = self.find(name)
        match model.loaded:
            case LoadedOneShot(model=found):
                return found
            case None if model.kind != "language":
                raise absence_of(model)
        raise WrongKind(f"The model {name} writes text, piece by piece. Ask it by {model.how_to_ask}.")


def absence_of(model: Model) -> EngineUnavailable:
    if model.is_loading or model.failure is None:
        return EngineLoading(f"The model {model.name} is still loading.")
    return EngineDown(model.failure.message)
