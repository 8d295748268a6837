"""Texts to vectors with any encoder in the layout of sentence-transformers, whose own numbers these are.

Blocks: call it in a thread. It changes nothing, so several threads may use one model.
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from service.models.layout import ModelKind
from service.predictors.limits import RecordLimits
from service.predictors.predictor import JsonSchema, Output, Record
from service.predictors.text_record import read_text, text_schema
from streaming.errors import EngineDown

Vectors: TypeAlias = NDArray[np.float32]
Purpose: TypeAlias = Literal["query", "document"]
Pooling: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
BATCH_TOKENS = 4096  # of a batch with its padding: bounds memory, and larger ones are not faster on a CPU
DEFAULT_MAX_TOKENS = 512
BATCH_TOLERANCE = 1e-5  # sums of float32 in another order


def mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)


def mean_sqrt_len(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9).sqrt()


def first(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states[:, 0]


def last(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    ends = mask.sum(1).long() - 1
    return states[torch.arange(len(states)), ends[:, 0]]


def largest(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states.masked_fill(mask == 0, float("-inf")).amax(1)


POOLINGS: Mapping[str, Pooling] = {
    "pooling_mode_mean_tokens": mean,
    "pooling_mode_cls_token": first,
    "pooling_mode_max_tokens": largest,
    "pooling_mode_mean_sqrt_len_tokens": mean_sqrt_len,
    "pooling_mode_lasttoken": last,
}
MODULES = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, slots=True)
class Definition:
    """How token states become one vector. `prompts` are put before a text, by its purpose."""

    pooling: Pooling
    max_tokens: int
    prompts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """A `OneShot`. Vectors have length 1, so that their product is the cosine.

    `counter` is the tokenizer that cuts nothing off.
    """

    name: str
    version: str
    model: Any
    tokenizer: Tokenizer
    counter: Tokenizer
    definition: Definition
    limits: RecordLimits = field(default_factory=RecordLimits)

    @property
    def kind(self) -> ModelKind:
        return "embedding"

    @property
    def size_bytes(self) -> int:
        return sum(weight.nbytes for weight in (*self.model.parameters(), *self.model.buffers()))

    @property
    def input_schema(self) -> JsonSchema:
        return text_schema(self.limits, "The sea was calm.")

    @property
    def output_schema(self) -> JsonSchema:
        numbers = {
            "type": "array",
            "items": {"type": "number"},
            "minItems": self.dimensions,
            "maxItems": self.dimensions,
        }
        return {"type": "object", "properties": {"embedding": numbers}, "required": ["embedding"]}

    @property
    def batch_tolerance(self) -> float:
        return BATCH_TOLERANCE

    def read(self, record: Record) -> str:
        return read_text(record, self.limits)

    def predict(self, inputs: Sequence[str]) -> Sequence[Output]:
        """As what documents are: a question to a search goes through `embed`."""
        return [{"embedding": row.tolist()} for row in self.embed(inputs, "document")]

    @property
    def dimensions(self) -> int:
        return int(self.model.config.hidden_size)

    @property
    def max_tokens(self) -> int:
        """Longer texts are cut here; two of these tokens are the model's own marks."""
        return self.definition.max_tokens

    def quick_copy(self) -> "EmbeddingModel":
        """Computes in bfloat16 where the processor does: in half the time, and its vectors, which are float32, may be
        compared with ours. Elsewhere it is the same model."""
        return replace(self, model=copy.deepcopy(self.model).bfloat16()) if has_bfloat16() else self

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Without the model's own marks."""
        encodings = self.counter.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in encodings]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], purpose: Purpose) -> Vectors:
        """One row for each text. Raises `ArithmeticError`."""
        prompt = self.definition.prompts.get(purpose, "")
        encodings = self.tokenizer.encode_batch_fast([prompt + text for text in texts])
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for batch in batches([len(encoding.ids) for encoding in encodings]):
            vectors[batch] = self._embed([encodings[place] for place in batch])
        return vectors

    def _embed(self, encodings: Sequence[Encoding]) -> Vectors:
        longest = max(len(encoding.ids) for encoding in encodings)
        ids = torch.zeros((len(encodings), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = torch.tensor(encoding.ids)
            mask[row, : len(encoding.ids)] = 1
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = self.definition.pooling(states, mask.unsqueeze(-1).float())
        if not torch.isfinite(pooled).all():
            raise ArithmeticError("the model's weights give no numbers")
        vectors: Vectors = torch.nn.functional.normalize(pooled.float()).numpy()
        return vectors


def has_bfloat16() -> bool:
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_tile"))


def compute_alone() -> None:
    """The number of torch's threads belongs to the thread that asks for them."""
    torch.set_num_threads(1)


def batches(lengths: Sequence[int]) -> list[list[int]]:
    """The places of the texts, those of like length together, so that little is padding."""
    groups: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if not groups or (len(groups[-1]) + 1) * lengths[groups[-1][0]] > BATCH_TOKENS:
            groups.append([])
        groups[-1].append(place)
    return groups


def load_embedding(path: Path, *, name: str, version: str, limits: RecordLimits | None = None) -> EmbeddingModel:
    """Blocks for a second or two. Raises `EngineDown`."""
    definition = read_definition(path, name)
    tokenizer, counter = (Tokenizer.from_file(str(path / "tokenizer.json")) for _ in range(2))
    for one in (tokenizer, counter):
        one.no_padding()
        one.no_truncation()
    tokenizer.enable_truncation(definition.max_tokens)
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModel.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise EngineDown(f"The model {name} cannot be opened as an encoder.") from error
    return EmbeddingModel(name, version, model.eval(), tokenizer, counter, definition, limits or RecordLimits())


def read_definition(path: Path, name: str) -> Definition:
    """Without files of sentence-transformers it is what that library takes then: the mean of the tokens."""
    modules = _json(path / "modules.json", [])
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    if unknown := sorted(set(kinds) - set(MODULES)):
        raise EngineDown(f"The model {name} has a part that is not supported: {unknown[0]}.")
    folder = next((module["path"] for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"), "")
    pooling = _json(path / folder / "config.json", {}) if folder else {}
    chosen = [mode for mode, wanted in pooling.items() if mode.startswith("pooling_mode") and wanted is True]
    if len(chosen) > 1 or any(mode not in POOLINGS for mode in chosen):
        raise EngineDown(f"The model {name} joins its tokens in a way that is not supported: {', '.join(chosen)}.")
    positions = _json(path / "config.json", {}).get("max_position_embeddings", DEFAULT_MAX_TOKENS)
    longest = _json(path / "sentence_bert_config.json", {}).get("max_seq_length") or positions
    return Definition(
        pooling=POOLINGS[chosen[0]] if chosen else mean,
        max_tokens=min(int(longest), int(positions)),
        prompts=_json(path / "config_sentence_transformers.json", {}).get("prompts", {}),
    )


def _json(path: Path, default: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else default
