"""Opens a prepared model folder and starts its engine. Runs in a thread; takes the imports of torch with it."""

import json
import os
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from streaming.engine import Engine
from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.llama import open_llama, understood
from streaming.engines.torch.output import Decoder
from streaming.engines.torch.pace import Pace, PacedRunner
from streaming.engines.torch.predictor import LanguagePredictor
from streaming.engines.torch.products import Format
from streaming.engines.torch.runner import Runner
from streaming.engines.torch.sampler import Sampler
from streaming.engines.torch.scheduler import Scheduler
from streaming.engines.torch.settings import TorchSettings
from streaming.engines.torch.weights import choose_dtype
from streaming.engines.torch.worker import Inbox, Worker
from streaming.errors import EngineDown

StartEngine: TypeAlias = Callable[[], TorchEngine]
TOKENIZER_THREADS = 2
THREADS = torch.get_num_threads()
"""As long as no engine has run: the pace of one that runs while another is loaded changes the number."""
GENERIC_TOKENIZERS = {"TokenizersBackend", "PreTrainedTokenizerFast"}
"""Classes of transformers that add nothing to what tokenizer.json says."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a model tells of itself, however it is run."""

    make_runner: Callable[[], Runner]
    """Called once for each engine: the weights are shared, the memory is not."""
    trained_context: int | None
    vocabulary: int
    end_tokens: int | list[int] | None
    can_change_threads: bool = False


@dataclass(frozen=True, slots=True)
class Parts:
    """An opened model, taken apart for its engine."""

    tokenizer: Any
    runner: Runner
    make_runner: Callable[[], Runner]
    """For an engine that takes the first one's place."""
    sampler: Sampler
    decoder: Decoder
    context_tokens: int
    vocabulary: int
    can_change_threads: bool
    """Whether the number of threads leaves a row's numbers as they are."""


def unsupervised(start: StartEngine) -> Engine:
    return start()


def load_predictor(
    path: Path,
    *,
    name: str,
    version: str,
    settings: TorchSettings,
    supervised: Callable[[StartEngine], Engine] = unsupervised,
) -> LanguagePredictor:
    """`supervised` is given what starts an engine, and may start another one later."""
    parts = open_parts(path, settings)
    return LanguagePredictor(
        name=name,
        version=version,
        engine=supervised(EngineStarter(parts, settings, name)),
        tokenizer=parts.tokenizer,
        executor=ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix=f"headwater-{name}-tokenizer"),
        context_tokens=parts.context_tokens,
        vocabulary=parts.vocabulary,
        default_max_tokens=settings.default_max_tokens,
        defaults=settings.defaults,
    )


@torch.inference_mode()
def open_parts(path: Path, settings: TorchSettings) -> Parts:
    torch.set_num_threads(settings.threads or THREADS)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(_open_tokenizer, path)
        opened = _open(path, settings, before_transformers=reading.result)
        runner = opened.make_runner()
        tokenizer = reading.result()
    limits = (opened.trained_context, settings.max_context_tokens, runner.capacity_tokens)
    return Parts(
        tokenizer=tokenizer,
        runner=runner,
        make_runner=opened.make_runner,
        sampler=Sampler(_end_tokens(opened, tokenizer)),
        decoder=_decoder(tokenizer),
        context_tokens=min(limit for limit in limits if limit),
        vocabulary=opened.vocabulary,
        can_change_threads=opened.can_change_threads,
    )


class EngineStarter:
    """Starts an engine, and with each further call one that takes its place. Keeps the memory of the newest only."""

    def __init__(self, parts: Parts, settings: TorchSettings, name: str) -> None:
        self._parts = parts
        self._settings = settings
        self._name = name
        self._threads = torch.get_num_threads()  # before an engine's pace has changed it
        self._has_started = False

    def __call__(self) -> TorchEngine:
        if self._has_started:
            torch.set_num_threads(self._threads)
            self._parts = replace(self._parts, runner=self._parts.make_runner())
        self._has_started = True
        return start_engine(self._parts, self._settings, self._name)


def start_engine(parts: Parts, settings: TorchSettings, name: str) -> TorchEngine:
    inbox: Inbox = queue.SimpleQueue()
    runner, threads = parts.runner, torch.get_num_threads()
    if parts.can_change_threads and threads > 1:
        runner = PacedRunner(runner, Pace(threads))
    return TorchEngine(
        lambda on_end: Worker(
            runner=runner,
            sampler=parts.sampler,
            scheduler=Scheduler(
                settings.max_running,
                settings.prefill_chunk_tokens,
                settings.max_background,
                settings.background_share,
            ),
            decoder=parts.decoder,
            inbox=inbox,
            on_end=on_end,
        ),
        inbox,
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        capacity_tokens=parts.runner.capacity_tokens,
        name=name,
    )


def _device(wanted: str) -> torch.device:
    """What is not there is refused here, in one line, and not by a model's first tensor."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    found += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if wanted not in found:
        raise EngineDown(f"The device {wanted} is not on this machine; there are: {', '.join(found)}.")
    return torch.device(wanted)


def _open(path: Path, settings: TorchSettings, before_transformers: Callable[[], object]) -> Opened:
    """float32 is the exact mode: it always runs transformers' own code, which no two threads should import at once."""
    device = _device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    quantized = settings.quantization != "none" and settings.dtype != "float32"
    config = _read_json(path / "config.json")
    shape = understood(config)
    if shape is None or dtype == torch.float32:
        before_transformers()
        return _open_general(path, dtype, device, quantized=quantized, kv_cache_bytes=settings.kv_cache_bytes)
    has_dense_copy = shape.linear_parameters * dtype.itemsize <= settings.dense_copy_max_bytes
    run_as = Format(dtype, device, quantized=quantized, has_dense_copy=has_dense_copy)
    make_runner = open_llama(path, shape, run_as, settings.kv_cache_bytes)
    generation = _read_json(path / "generation_config.json") or config
    end_tokens = generation.get("eos_token_id")
    return Opened(make_runner, shape.positions, config["vocab_size"], end_tokens, device.type == "cpu")


def _open_general(
    path: Path, dtype: torch.dtype, device: torch.device, *, quantized: bool, kv_cache_bytes: int
) -> Opened:
    from streaming.engines.torch.general import open_model  # noqa: PLC0415  transformers' modelling code takes seconds
    from streaming.engines.torch.probe import make_runners  # noqa: PLC0415

    model = open_model(path, dtype=dtype, device=device, quantized=quantized)
    return Opened(
        make_runner=make_runners(model, kv_cache_bytes),
        trained_context=getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None),
        vocabulary=model.get_output_embeddings().weight.shape[0],
        end_tokens=model.generation_config.eos_token_id if model.generation_config else None,
    )


def _open_tokenizer(path: Path) -> Any:
    """`AutoTokenizer` only where it would choose a class with rules of its own: its import takes a second."""
    if _read_json(path / "tokenizer_config.json").get("tokenizer_class") in GENERIC_TOKENIZERS:
        from transformers import PreTrainedTokenizerFast as Tokenizer  # noqa: PLC0415
    else:
        from transformers import AutoTokenizer as Tokenizer  # noqa: PLC0415
    return Tokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)


def _read_json(path: Path) -> dict[str, Any]:
    """Empty when there is no such file."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return content


def _end_tokens(opened: Opened, tokenizer: Any) -> tuple[int, ...]:
    """What the model's generation settings name, else the tokenizer's end of text."""
    configured = opened.end_tokens if opened.end_tokens is not None else tokenizer.eos_token_id
    if configured is None:
        return ()
    return tuple(configured) if isinstance(configured, list) else (configured,)


def _decoder(tokenizer: Any) -> Decoder:
    backend = tokenizer.backend_tokenizer
    return Decoder(
        text=lambda tokens: backend.decode(tokens, skip_special_tokens=True),
        token=lambda token: backend.decode([token], skip_special_tokens=False),
    )
