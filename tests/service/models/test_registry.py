"""What is found under a name, whatever its kind, and what is refused with which words."""

from dataclasses import replace

import pytest

from service.models.layout import ModelKind
from service.models.registry import Failure, LoadedLanguage, LoadedOneShot, Model, Registry
from service.predictors.errors import WrongKind
from streaming.engines.echo import EchoEngine, EchoPredictor
from streaming.errors import EngineDown, EngineLoading, UnknownModel
from tests.service.models.doubling import Doubling

FAILURE = Failure("engine_down", "It is broken.", at=1.0)


def one_shot(version: str = "1") -> LoadedOneShot:
    return LoadedOneShot(Doubling(version=version), loaded_at=0.0, size_bytes=8)


def test_a_model_of_each_kind_is_found_and_asked_for_as_another_it_says_how_to_ask() -> None:
    engine = EchoEngine()
    language = LoadedLanguage(EchoPredictor(engine), loaded_at=0.0, size_bytes=0)
    registry = Registry([Model("text", "language", loaded=language), Model("numbers", "embedding", loaded=one_shot())])
    assert registry.language("text").version == "echo-1"
    assert registry.one_shot("numbers").predict([2.0]) == [{"doubled": 4.0}]
    with pytest.raises(WrongKind, match="POST /predict/text"):
        registry.one_shot("text")
    with pytest.raises(WrongKind, match="POST /embed"):
        registry.language("numbers")
    engine.close(0)


@pytest.mark.parametrize("kind", ["language", "embedding"])
def test_what_is_absent_says_why(kind: ModelKind) -> None:
    model = Model("m", kind)
    registry = Registry([model])
    find = registry.language if kind == "language" else registry.one_shot
    with pytest.raises(UnknownModel):
        find("n")
    registry.put(replace(model, is_loading=True))
    with pytest.raises(EngineLoading):
        find("m")
    registry.put(replace(model, failure=FAILURE))
    with pytest.raises(EngineDown, match=r"It is broken\."):
        find("m")


def test_a_failed_reload_leaves_a_model_ready_and_is_told() -> None:
    model = Model("m", "embedding", loaded=one_shot(), failure=FAILURE)
    assert (model.state, model.reason) == ("ready", None)
    assert Registry([model]).one_shot("m").version == "1"


def test_states_and_their_reasons() -> None:
    unloaded = Model("m", "embedding")
    loading = replace(unloaded, is_loading=True)
    failed = replace(unloaded, failure=FAILURE)
    told = [(model.state, model.reason) for model in (unloaded, loading, failed)]
    assert told == [
        ("unloaded", None),
        ("loading", "model m is loading"),
        ("failed", "model m is not loaded: It is broken."),
    ]


def test_whoever_found_a_model_keeps_it() -> None:
    registry = Registry([Model("m", "embedding", loaded=one_shot("1"))])
    found = registry.one_shot("m")
    registry.put(Model("m", "embedding", loaded=one_shot("2")))
    assert (found.version, registry.one_shot("m").version) == ("1", "2")


def test_a_lease_lasts_as_long_as_a_predictor_or_its_engine_is_held() -> None:
    engine = EchoEngine()
    loaded = LoadedLanguage(EchoPredictor(engine), loaded_at=0.0, size_bytes=0)
    registry = Registry([Model("text", "language", loaded=loaded)])
    predictor = registry.language("text")
    held = predictor.engine
    other = registry.language("text")
    assert len(loaded.leases) == 2
    del other
    assert len(loaded.leases) == 1
    del predictor
    assert len(loaded.leases) == 1, "the engine is still held"
    del held
    assert len(loaded.leases) == 0
    engine.close(0)
