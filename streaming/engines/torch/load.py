"""Opens a prepared model folder and starts its engine. Runs in a thread; takes the imports of torch with it."""

import os
import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.output import Decoder
from streaming.engines.torch.predictor import LanguagePredictor
from streaming.engines.torch.probe import make_runner
from streaming.engines.torch.runner import Runner
from streaming.engines.torch.sampler import Sampler
from streaming.engines.torch.scheduler import Scheduler
from streaming.engines.torch.settings import TorchSettings
from streaming.engines.torch.weights import choose_dtype, open_model
from streaming.engines.torch.worker import Inbox, Worker
from streaming.errors import EngineDown

TOKENIZER_THREADS = 2


@dataclass(frozen=True, slots=True)
class Parts:
    """An opened model, taken apart for its engine."""

    tokenizer: Any
    runner: Runner
    sampler: Sampler
    decoder: Decoder
    context_tokens: int
    vocabulary: int


def load_predictor(path: Path, *, name: str, version: str, settings: TorchSettings) -> LanguagePredictor:
    parts = open_parts(path, settings)
    return LanguagePredictor(
        name=name,
        version=version,
        engine=start_engine(parts, settings, name),
        tokenizer=parts.tokenizer,
        executor=ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix=f"headwater-{name}-tokenizer"),
        context_tokens=parts.context_tokens,
        vocabulary=parts.vocabulary,
        default_max_tokens=settings.default_max_tokens,
        defaults=settings.defaults,
    )


@torch.inference_mode()
def open_parts(path: Path, settings: TorchSettings) -> Parts:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.disable_progress_bar()
    device = _device(settings.device)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    dtype = choose_dtype(settings.dtype, device)
    model = open_model(path, dtype=dtype, device=device, quantized=_is_quantized(settings))
    runner = make_runner(model, settings.kv_cache_bytes)
    return Parts(
        tokenizer=tokenizer,
        runner=runner,
        sampler=Sampler(_end_tokens(model, tokenizer)),
        decoder=_decoder(tokenizer),
        context_tokens=_context_tokens(model, settings, runner.capacity_tokens),
        vocabulary=model.get_output_embeddings().weight.shape[0],
    )


def start_engine(parts: Parts, settings: TorchSettings, name: str) -> TorchEngine:
    inbox: Inbox = queue.SimpleQueue()
    return TorchEngine(
        lambda on_end: Worker(
            runner=parts.runner,
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


def _is_quantized(settings: TorchSettings) -> bool:
    return settings.quantization != "none" and settings.dtype != "float32"


def _context_tokens(model: Any, settings: TorchSettings, capacity_tokens: int) -> int:
    trained = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    limits = [trained, settings.max_context_tokens, capacity_tokens]
    return min(limit for limit in limits if limit)


def _end_tokens(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """What the model's generation settings name, else the tokenizer's end of text."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    if configured is None:
        configured = tokenizer.eos_token_id
    if configured is None:
        return ()
    return tuple(configured) if isinstance(configured, list) else (configured,)


def _decoder(tokenizer: Any) -> Decoder:
    backend = tokenizer.backend_tokenizer
    return Decoder(
        text=lambda tokens: backend.decode(tokens, skip_special_tokens=True),
        token=lambda token: backend.decode([token], skip_special_tokens=False),
    )
