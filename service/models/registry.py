"""The models that answer. What changes is one reference to an immutable mapping; a request keeps what it found."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from streaming.errors import EngineDown, EngineLoading, UnknownModel
from streaming.predictor import Predictor

ModelState: TypeAlias = Literal["loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class Loading:
    name: str


@dataclass(frozen=True, slots=True)
class Loaded:
    name: str
    predictor: Predictor


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """`reason` is written for whoever asks for the model."""

    name: str
    reason: str


Model: TypeAlias = Loading | Loaded | NotLoaded


class Registry:
    def __init__(self, names: list[str]) -> None:
        self._models: Mapping[str, Model] = MappingProxyType({name: Loading(name) for name in names})

    @property
    def models(self) -> Mapping[str, Model]:
        return self._models

    def put(self, model: Model) -> None:
        """Called on the event loop only, so two changes never start from the same mapping."""
        self._models = MappingProxyType({**self._models, model.name: model})

    def find(self, name: str) -> Predictor:
        match self._models.get(name):
            case Loaded(predictor=predictor):
                return predictor
            case Loading():
                raise EngineLoading(f"The model {name} is still loading.")
            case NotLoaded(reason=reason):
                raise EngineDown(reason)
            case None:
                raise UnknownModel("There is no model of this name.")


def state_of(model: Model) -> ModelState:
    """An engine that broke after its model was loaded counts as failed."""
    match model:
        case Loading():
            return "loading"
        case Loaded(predictor=predictor) if predictor.engine.state in ("ready", "draining", "closed"):
            return "ready"
        case _:
            return "failed"


def reason_of(model: Model) -> str | None:
    """Why the model is not ready; None when it is."""
    match state_of(model), model:
        case "ready", _:
            return None
        case "loading", _:
            return f"model {model.name} is loading"
        case _, NotLoaded(reason=reason):
            return f"model {model.name} is not loaded: {reason}"
        case _:
            return f"the engine of model {model.name} is down"
