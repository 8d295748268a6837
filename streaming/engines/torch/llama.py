"""The forward pass of the Llama family, written for steps of few rows.

transformers' modelling code is made of many small calls, and at one stream they cost more than the arithmetic
(docs/experiments.md). Here what can be one product is one: query, key and value; gate and up. It also needs none of
transformers' modelling imports, which are most of a start. Formats that round anyway use it; the exact mode keeps
transformers' own code, and the tests compare the two.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import embedding, rms_norm, silu

from streaming.engines.torch.attention import PackedAttention
from streaming.engines.torch.cache import LayerShape
from streaming.engines.torch.memory import open_memory
from streaming.engines.torch.products import Format, Product, times_few
from streaming.engines.torch.runner import PackedRunner
from streaming.engines.torch.weights import Weight, read_weights, spread

ARCHITECTURE = "LlamaForCausalLM"
OPENING_THREADS = 4
"""Each has room for one weight, twice, in numbers of 32 bits."""


@dataclass(frozen=True, slots=True)
class LlamaShape:
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int
    head_size: int
    positions: int
    theta: float
    epsilon: float
    is_tied: bool

    @property
    def linear_parameters(self) -> int:
        """Those of the layers' products, without embedding and head."""
        attention = 2 * (self.heads + self.key_value_heads) * self.head_size
        return self.layers * self.hidden * (attention + 3 * self.feed_forward)


def understood(config: Mapping[str, Any]) -> LlamaShape | None:
    """The shape of a model whose every particular is known here; None leaves it to transformers.

    `config` is a config.json; what it leaves out has transformers' default.
    """
    rope = config.get("rope_parameters") or {}
    particulars = ("rope_scaling", "attention_bias", "mlp_bias", "quantization_config", "partial_rotary_factor")
    if (
        config.get("architectures") != [ARCHITECTURE]
        or config.get("hidden_act", "silu") != "silu"
        or rope.get("rope_type", "default") != "default"
        or any(config.get(name) for name in particulars)
    ):
        return None
    heads = config["num_attention_heads"]
    return LlamaShape(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        feed_forward=config["intermediate_size"],
        heads=heads,
        key_value_heads=config.get("num_key_value_heads") or heads,
        head_size=config.get("head_dim") or config["hidden_size"] // heads,
        positions=config.get("max_position_embeddings", 2048),
        theta=rope.get("rope_theta") or config.get("rope_theta") or 10_000.0,
        epsilon=config.get("rms_norm_eps", 1e-6),
        is_tied=config.get("tie_word_embeddings", False),
    )


@dataclass(frozen=True, slots=True)
class Layer:
    before_attention: torch.Tensor
    query_key_value: Product
    out: Product
    before_feed_forward: torch.Tensor
    gate_up: Product
    down: Product


class Weights:
    """The parameters of a folder by their names; each is taken once, in the format it will run in."""

    def __init__(self, stored: Iterable[tuple[str, Weight]], run_as: Format) -> None:
        self._stored = dict(stored)
        self._format = run_as

    def dense(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        return spread(self._take(name), dtype or self._format.dtype, self._format.room).to(self._format.device)

    def product(self, *names: str) -> Product:
        return self._format.product([self._take(name) for name in names])

    def refuse_rest(self) -> None:
        """A tied head may be stored twice, and old files hold the frequencies of the rotary embedding."""
        rest = [name for name in self._stored if name != "lm_head.weight" and not name.endswith("rotary_emb.inv_freq")]
        if rest:
            raise ValueError(f"The weights do not fit the model: unexpected {rest[:3]}")

    def _take(self, name: str) -> Weight:
        try:
            return self._stored.pop(name)
        except KeyError:
            raise ValueError(f"The weights do not fit the model: {name} is missing") from None


class Llama:
    """`streaming.engines.torch.runner.Network`, once it has an attention, which holds the keys and values."""

    _attention: PackedAttention

    def __init__(self, shape: LlamaShape, weights: Weights) -> None:
        self._shape = shape
        self._embedding = weights.dense("model.embed_tokens.weight")
        self._head = self._embedding if shape.is_tied else weights.dense("lm_head.weight")
        self._norm = weights.dense("model.norm.weight", torch.float32)
        self._layers = _open_layers(shape.layers, weights)
        self._cos, self._sin = _rotations(shape, self._embedding)
        self.device, self.dtype = self._embedding.device, self._embedding.dtype

    def attending(self, attention: PackedAttention) -> "Llama":
        """The same weights; `attention` is asked once per layer."""
        twin = copy.copy(self)
        twin._attention = attention
        return twin

    def __call__(self, tokens: torch.Tensor, positions: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """The logits of the rows `keep`."""
        shape, few = self._shape, self._attention.decode_rows
        hidden = embedding(tokens, self._embedding).float()
        cos, sin = self._cos[positions], self._sin[positions]
        for index, layer in enumerate(self._layers):
            normed = self._normed(hidden, layer.before_attention)
            heads = layer.query_key_value(normed, few).view(len(tokens), -1, shape.head_size)
            turned, value = heads.tensor_split((shape.heads + shape.key_value_heads,), dim=1)
            query, key = _turn(turned, cos, sin).tensor_split((shape.heads,), dim=1)
            seen = self._attention.attend_rows(index, query, key, value)
            hidden = hidden + layer.out(seen.flatten(1), few)
            gate, up = layer.gate_up(self._normed(hidden, layer.before_feed_forward), few).chunk(2, dim=-1)
            hidden = hidden + layer.down(silu(gate) * up, few)
        return times_few(self._head, self._normed(hidden[keep], self._norm))

    def _normed(self, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return rms_norm(hidden, weight.shape, weight, self._shape.epsilon).to(self.dtype)


def _open_layers(count: int, weights: Weights) -> list[Layer]:
    """A thread for each layer instead of several for each weight: threads that compute together wait for each other,
    spinning, and beside other work that took ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # here, and in the threads that are started now
    try:
        with ThreadPoolExecutor(min(threads, OPENING_THREADS)) as pool:
            return list(pool.map(lambda index: _layer(f"model.layers.{index}", weights), range(count)))
    finally:
        torch.set_num_threads(threads)


@torch.inference_mode()
def _layer(name: str, weights: Weights) -> Layer:
    def product(part: str, *names: str) -> Product:
        return weights.product(*(f"{name}.{part}.{one}_proj.weight" for one in names))

    return Layer(
        before_attention=weights.dense(f"{name}.input_layernorm.weight", torch.float32),
        query_key_value=product("self_attn", "q", "k", "v"),
        out=product("self_attn", "o"),
        before_feed_forward=weights.dense(f"{name}.post_attention_layernorm.weight", torch.float32),
        gate_up=product("mlp", "gate", "up"),
        down=product("mlp", "down"),
    )


def _rotations(shape: LlamaShape, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines by position, [positions, 1, head size]. The first half of the sines is negative (`_turn`)."""
    exponents = torch.arange(0, shape.head_size, 2, dtype=torch.float32) / shape.head_size
    angles = torch.outer(torch.arange(shape.positions, dtype=torch.float32), shape.theta**-exponents)
    cos, sin = angles.cos(), angles.sin()
    tables = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return tables[0].unsqueeze(1).to(like), tables[1].unsqueeze(1).to(like)


def _turn(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding: each half turned against the other. Rolling by half a head swaps the halves."""
    return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, -1), sin)


def open_llama(folder: Path, shape: LlamaShape, run_as: Format, kv_cache_bytes: int) -> Callable[[], PackedRunner]:
    """Makes runners over the same weights, each with a memory of its own."""
    weights = Weights(read_weights(folder), run_as)
    network = Llama(shape, weights)
    weights.refuse_rest()
    layer = LayerShape(shape.key_value_heads, shape.head_size, shape.head_size)

    def make() -> PackedRunner:
        memory = open_memory(dict.fromkeys(range(shape.layers), layer), kv_cache_bytes, run_as.dtype, run_as.device)
        attention = PackedAttention(memory.cache)
        return PackedRunner(network.attending(attention), attention, memory)

    return make
