"""Texts to logits with any transformer of the hub's layout, from safetensors or as an ONNX graph.

Blocks: call it in a thread. It changes nothing, so several threads may use one model.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from transformers.utils import logging as transformers_logging

from service.models.layout import ONNX
from service.predictors.embedding import batches
from streaming.errors import EngineDown

Integers: TypeAlias = NDArray[np.int64]
Logits: TypeAlias = NDArray[np.float32]
Forward: TypeAlias = Callable[[Integers, Integers], Logits]
DEFAULT_MAX_TOKENS = 512
OFFSET_POSITIONS = (
    "roberta",
    "camembert",
    "xlm-roberta",
    "longformer",
    "mpnet",
)  # they count from the pad token's id on


@dataclass(frozen=True, slots=True)
class TokenModel:
    """`forward` takes ids and their mask. `labels` stand in the order of its last dimension."""

    tokenizer: Tokenizer
    forward: Forward
    pad_id: int
    max_tokens: int
    labels: tuple[str, ...]
    is_multi_label: bool
    size_bytes: int

    def logits(self, encodings: Sequence[Encoding]) -> list[Logits]:
        """Those of each text, without its padding where they are per token. Raises `ArithmeticError`."""
        found: list[Logits] = [np.empty(0, np.float32)] * len(encodings)
        for batch in batches([len(encoding.ids) for encoding in encodings]):
            rows = self._forward([encodings[place].ids for place in batch])
            for place, row in zip(batch, rows, strict=True):
                found[place] = row if row.ndim == 1 else row[: len(encodings[place].ids)]
        if not all((row < np.inf).all() for row in found):  # nor is it true of what is no number
            raise ArithmeticError("the model's weights give no numbers")
        return found

    def _forward(self, ids_of: Sequence[Sequence[int]]) -> Logits:
        longest = max(len(ids) for ids in ids_of)
        ids = np.full((len(ids_of), longest), self.pad_id, np.int64)
        mask = np.zeros_like(ids)
        for row, one in enumerate(ids_of):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = 1
        return self.forward(ids, mask)


def open_token_model(path: Path, auto_class: Any, name: str) -> TokenModel:
    """`auto_class` is that of transformers for the task. Blocks for a second or two. Raises `EngineDown`."""
    config = read_json(path / "config.json")
    has_safetensors = any(path.glob("*.safetensors"))
    onnx = next((path / file for file in ONNX if (path / file).is_file() and not has_safetensors), None)
    forward, size_bytes = open_graph(onnx, name) if onnx else open_module(path, auto_class, name)
    return TokenModel(
        tokenizer=open_tokenizer(path, max_tokens_of(path, config)),
        forward=forward,
        pad_id=config.get("pad_token_id") or 0,
        max_tokens=max_tokens_of(path, config),
        labels=labels_of(config),
        is_multi_label=config.get("problem_type") == "multi_label_classification",
        size_bytes=size_bytes,
    )


def open_module(path: Path, auto_class: Any, name: str) -> tuple[Forward, int]:
    transformers_logging.disable_progress_bar()
    try:
        model = auto_class.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval()
    except (OSError, ValueError, KeyError) as error:
        raise EngineDown(f"The model {name} cannot be opened for its task.") from error

    def forward(ids: Integers, mask: Integers) -> Logits:
        with torch.inference_mode():
            logits: Logits = model(
                input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
            ).logits.numpy()
        return logits

    return forward, sum(weight.nbytes for weight in (*model.parameters(), *model.buffers()))


def open_graph(path: Path, name: str) -> tuple[Forward, int]:
    import onnxruntime  # noqa: PLC0415  only for these

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no base but this one
        raise EngineDown(f"The model {name} cannot be opened as an ONNX graph.") from error
    wanted = {one.name for one in session.get_inputs()}

    def forward(ids: Integers, mask: Integers) -> Logits:
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        logits: Logits = session.run(None, {key: value for key, value in given.items() if key in wanted})[0]
        return logits.astype(np.float32, copy=False)

    return forward, path.stat().st_size


def open_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_padding()  # what a published file says of these is for its training
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def labels_of(config: Any) -> tuple[str, ...]:
    named = {int(place): str(label) for place, label in config.get("id2label", {}).items()}
    return tuple(named[place] for place in sorted(named)) or ("LABEL_0", "LABEL_1")


def max_tokens_of(path: Path, config: Any) -> int:
    positions = int(config.get("max_position_embeddings", DEFAULT_MAX_TOKENS))
    if config.get("model_type") in OFFSET_POSITIONS:
        positions -= int(config.get("pad_token_id") or 1) + 1
    declared = read_json(path / "tokenizer_config.json").get("model_max_length", positions)
    return min(positions, int(min(declared, positions)))  # "no limit" is written as 1e30


def read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
