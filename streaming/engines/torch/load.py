"""Opens a prepared model folder and starts its engine. Runs in a thread; takes the imports of torch with it."""

import logging
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from streaming.engines.torch.engine import TorchEngine
from streaming.engines.torch.output import Decoder
from streaming.engines.torch.predictor import LanguagePredictor
from streaming.engines.torch.probe import make_runner
from streaming.engines.torch.sampler import Sampler
from streaming.engines.torch.scheduler import Scheduler
from streaming.engines.torch.settings import TorchSettings
from streaming.engines.torch.weights import choose_dtype, open_model
from streaming.engines.torch.worker import Inbox, Worker

logger = logging.getLogger(__name__)

TOKENIZER_THREADS = 2


@torch.inference_mode()
def load_predictor(path: Path, *, name: str, version: str, settings: TorchSettings) -> LanguagePredictor:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    device = _device(settings.device)
    dtype = choose_dtype(settings.dtype, device)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    model = open_model(path, dtype=dtype, device=device, quantized=_is_quantized(settings))
    runner = make_runner(model, settings.kv_cache_bytes)
    context = _context_tokens(model, settings, runner.capacity_tokens)
    inbox: Inbox = queue.SimpleQueue()
    engine = TorchEngine(
        lambda on_end: Worker(
            runner=runner,
            sampler=Sampler(_end_tokens(model, tokenizer)),
            scheduler=Scheduler(settings.max_running, settings.prefill_chunk_tokens),
            decoder=_decoder(tokenizer),
            inbox=inbox,
            on_end=on_end,
        ),
        inbox,
        max_running=settings.max_running,
        max_waiting=settings.max_waiting,
        capacity_tokens=runner.capacity_tokens,
        name=name,
    )
    return LanguagePredictor(
        name=name,
        version=version,
        engine=engine,
        tokenizer=tokenizer,
        executor=ThreadPoolExecutor(TOKENIZER_THREADS, thread_name_prefix=f"headwater-{name}-tokenizer"),
        context_tokens=context,
        vocabulary=model.get_output_embeddings().weight.shape[0],
        default_max_tokens=settings.default_max_tokens,
        defaults=settings.defaults,
    )


def _device(wanted: str) -> torch.device:
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
