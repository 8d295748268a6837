"""Finds out how a model can be run: packed with the others when that provably gives the model's own numbers.

A short pass with the model's own attention is compared with the same tokens run packed, in pieces, beside another
sequence. A model that does not pass (learned position biases, attention sinks, chunked or linear attention, rotary
embeddings that depend on the batch) runs one sequence at a time.
"""

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from transformers import AttentionInterface

from streaming.engines.torch.attention import PackedAttention
from streaming.engines.torch.cache import LayerShape, bytes_per_token
from streaming.engines.torch.memory import open_memory
from streaming.engines.torch.runner import PackedRunner, Runner
from streaming.engines.torch.scheduler import Span
from streaming.engines.torch.sequence import Clock, Sequence
from streaming.engines.torch.sequential import SequentialRunner
from streaming.generation import Generation
from streaming.logs.discard import DiscardLog

logger = logging.getLogger(__name__)

PACKABLE_LAYERS = {"full_attention", "sliding_attention"}
BATCH_DEPENDENT_ROPE = {"dynamic", "longrope"}
PROBE_TOKENS = 41
PROBE_SPLIT = 40
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.15, torch.float16: 0.05}
"""Root mean square of the difference, in standard deviations of the logits. Rounding gives a fifth of this at most,
a wrong mask or position several times as much."""
FALLBACK_BYTES_PER_TOKEN = 64 * 1024


def make_runners(model: Any, kv_cache_bytes: int) -> Callable[[], Runner]:
    """Makes runners over the same weights, each with a memory and an attention of its own.

    The model itself is never run: an attention is set on a model as a whole, and an earlier runner may be at work.
    """
    return lambda: make_runner(twin_of(model), kv_cache_bytes)


def twin_of(model: Any) -> Any:
    """The same modules once more, with the same tensors in them."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def make_runner(model: Any, kv_cache_bytes: int) -> Runner:
    reason = _obstacle(model)
    if reason is None:
        original = model.config._attn_implementation
        reference = reference_of(model)
        runner, token_bytes = _packed(model, kv_cache_bytes)
        if agrees(runner, reference, model):
            return runner
        model.set_attn_implementation(original)
        reason = "its packed attention does not give the model's own numbers"
    else:
        token_bytes = _estimated_bytes_per_token(model)
    logger.warning("%s runs one sequence at a time: %s", type(model).__name__, reason)
    return SequentialRunner(model, kv_cache_bytes // token_bytes)


def _obstacle(model: Any) -> str | None:
    config = model.config.get_text_config(decoder=True)
    if not model._can_set_attn_implementation():
        return "its attention cannot be replaced"
    if layers := set(getattr(config, "layer_types", None) or []) - PACKABLE_LAYERS:
        return f"it has layers of the kind {', '.join(sorted(layers))}"
    if BATCH_DEPENDENT_ROPE & set(_rope_types(getattr(config, "rope_parameters", None) or {})):
        return "its rotary embedding depends on the longest sequence of a batch"
    return None


def _rope_types(parameters: dict[str, Any]) -> list[str]:
    """`rope_parameters` is one table, or one table for each type of layer."""
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    return [table.get("rope_type", "default") for table in nested or [parameters]]


class TransformersNetwork:
    """`streaming.engines.torch.runner.Network` over a model of transformers."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype

    def __call__(self, tokens: torch.Tensor, positions: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        output = self._model(
            input_ids=tokens.unsqueeze(0), position_ids=positions.unsqueeze(0), use_cache=False, logits_to_keep=keep
        )
        logits: torch.Tensor = output.logits[0]
        return logits


class _ShapeRecorder:
    """An attention that only notes each layer's shapes; its numbers are thrown away."""

    def __init__(self) -> None:
        self.shapes: dict[int, LayerShape] = {}

    def attend(
        self, module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, None]:
        self.shapes[module.layer_idx] = LayerShape(key.shape[1], key.shape[-1], value.shape[-1])
        return query.new_zeros((1, query.shape[2], query.shape[1], value.shape[-1])), None


def _packed(model: Any, kv_cache_bytes: int) -> tuple[PackedRunner, int]:
    recorder = _ShapeRecorder()
    _use_attention(model, recorder.attend)
    _run(model, [0, 1, 2, 3])
    memory = open_memory(recorder.shapes, kv_cache_bytes, model.dtype, model.device)
    attention = PackedAttention(memory.cache)
    _use_attention(model, attention.attend)
    runner = PackedRunner(TransformersNetwork(model), attention, memory)
    return runner, bytes_per_token(recorder.shapes, model.dtype)


def _use_attention(model: Any, function: Any) -> None:
    """transformers finds an attention by its name; the name is this engine's own, so engines do not meet."""
    name = f"headwater_{id(model):x}_{function.__self__.__class__.__name__.strip('_').lower()}"
    AttentionInterface.register(name, function)
    model.set_attn_implementation(name)


def _probe_tokens(model: Any) -> list[int]:
    vocabulary = model.get_input_embeddings().weight.shape[0]
    return [(7919 * (i + 1)) % vocabulary for i in range(PROBE_TOKENS)]


def _run(model: Any, tokens: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False).logits[0]
    return logits


def reference_of(model: Any) -> torch.Tensor:
    return _run(model, _probe_tokens(model))[PROBE_SPLIT - 1 :].float()


def agrees(runner: PackedRunner, reference: torch.Tensor, model: Any) -> bool:
    """Read a prompt in two pieces, then decode the rest beside another sequence, comparing each step's logits."""
    tokens = _probe_tokens(model)
    probe, other = _sequence(tokens[:PROBE_SPLIT]), _sequence(tokens[:33])
    for sequence in (probe, other):
        runner.reserve(sequence, [])
    runner.step([Span(probe, 0, 32), Span(other, 0, 32)])
    rows = [_logits_of(probe, runner.step([Span(probe, 32, PROBE_SPLIT), Span(other, 32, 33)]))]
    for position in range(PROBE_SPLIT, PROBE_TOKENS):
        probe.tokens.append(tokens[position])
        other.tokens.append(tokens[position])
        at = len(other.tokens) - 1
        rows.append(_logits_of(probe, runner.step([Span(other, at, at + 1), Span(probe, position, position + 1)])))
    for sequence in (probe, other):
        runner.release(sequence, is_tainted=True)
    if any(row is None for row in rows):
        return False
    difference = (torch.stack(rows).float() - reference).square().mean().sqrt()  # type: ignore[arg-type]
    return bool(difference <= TOLERANCE[model.dtype] * reference.std())


def _logits_of(sequence: Sequence, result: Any) -> torch.Tensor | None:
    for row, span in enumerate(result.spans):
        if span.sequence is sequence:
            logits: torch.Tensor = result.logits[row]
            return logits
    return None


def _sequence(tokens: list[int]) -> Sequence:
    generation = Generation("probe", "", "", "", tuple(tokens), max_tokens=PROBE_TOKENS, seed=0, created=0)
    return Sequence(generation, DiscardLog(), Clock(0.0))


def _estimated_bytes_per_token(model: Any) -> int:
    config = model.config.get_text_config(decoder=True)
    layers, heads = getattr(config, "num_hidden_layers", None), getattr(config, "num_attention_heads", None)
    if not layers or not heads:
        return FALLBACK_BYTES_PER_TOKEN
    kv_heads = getattr(config, "num_key_value_heads", None) or heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(2 * layers * kv_heads * size * model.dtype.itemsize)
