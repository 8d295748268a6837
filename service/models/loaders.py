"""How a model of each kind is opened. Everything here blocks, imports what it needs only then, and runs in a thread."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from service.models import one_shot_loaders
from service.models.config import ModelEntry
from service.models.layout import ModelKind
from service.models.store import PreparedModel
from service.predictors.predictor import OneShot
from service.settings import MIB, Settings
from streaming.engines.echo import EchoEngine, EchoPredictor, EchoSpeed
from streaming.errors import EngineDown
from streaming.predictor import Predictor
from streaming.supervisor import SupervisedEngine, Watchable
from streaming.vigil import Patience

ECHO_ENTRY = ModelEntry.model_construct(name="default", kind="language", references=(), load="start")


class Load(Protocol):
    """`prepared` is None for an entry without a source. Raises `ModelsError` or `StreamingError` for the client."""

    def __call__(
        self, entry: ModelEntry, prepared: PreparedModel | None, settings: Settings
    ) -> Predictor | OneShot: ...


def load_model(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor | OneShot:
    if prepared is None and entry.kind == "language":
        return load_echo(settings)
    load = LOADERS.get(entry.kind)
    if load is None:
        raise EngineDown(f"The model {entry.name} is of kind {entry.kind}, which cannot be opened.")
    return load(entry, prepared, settings)


def load_echo(settings: Settings) -> Predictor:
    speed = EchoSpeed(
        tokens_per_second=settings.echo.tokens_per_second,
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        max_background=settings.max_background,
        may_break=settings.echo.may_break,
    )
    engine = supervised(settings, ECHO_ENTRY.name)(partial(EchoEngine, speed))
    return EchoPredictor(engine, name=ECHO_ENTRY.name, default_max_tokens=settings.default_max_tokens)


def supervised(settings: Settings, name: str) -> Callable[[Callable[[], Watchable]], SupervisedEngine]:
    """Makes watched engines of what starts one."""
    patience = Patience(
        hang_s=settings.engine_hang_s,
        step_max_s=settings.engine_step_max_s,
        max_restarts=settings.engine_max_restarts,
    )
    return lambda start: SupervisedEngine(start, name, patience)


def load_language(entry: ModelEntry, prepared: PreparedModel | None, settings: Settings) -> Predictor:
    from streaming.engines.torch.load import load_predictor  # noqa: PLC0415  torch is slow to import and may be unused
    from streaming.engines.torch.settings import TorchSettings  # noqa: PLC0415

    defaults = entry.defaults.model_dump(exclude_none=True)
    torch_settings = TorchSettings(
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        max_background=settings.max_background,
        background_share=settings.background_share,
        kv_cache_bytes=settings.kv_cache_mib * MIB,
        prefill_chunk_tokens=settings.prefill_chunk_tokens,
        dense_copy_max_bytes=settings.dense_copy_max_mib * MIB,
        default_max_tokens=defaults.pop("max_tokens", settings.default_max_tokens),
        threads=settings.threads,
        device=settings.device,
        dtype=entry.dtype,
        quantization=entry.quantization,
        max_context_tokens=entry.max_context_tokens,
        defaults=defaults,
    )
    found = one_shot_loaders.needed(prepared)
    return load_predictor(
        found.path,
        name=entry.name,
        version=found.version,
        settings=torch_settings,
        supervised=supervised(settings, entry.name),
    )


LOADERS: Mapping[ModelKind, Load] = {
    "language": load_language,
    **one_shot_loaders.LOADERS,
}
