"""Which files of a folder or repository make a model of a kind: the layout of model hubs, no code, no pickles."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatch
from typing import Literal, TypeAlias

ModelKind: TypeAlias = Literal["language", "linear", "tabular", "embedding", "classifier", "tagger", "image"]

SAFETENSORS = "*.safetensors"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl")
LAYOUT = (
    SAFETENSORS,
    "*.safetensors.index.json",
    "*config.json",
    "tokenizer*.json",
    "tokenizer*.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.jinja",
)
ONNX = ("model.onnx", "onnx/model.onnx")
TABULAR = ("*.skops", "*.onnx", "*.joblib", "*.pkl", "*.pickle")
# What a kind has besides: an embedding model says in these how its tokens become one vector.
BESIDES: Mapping[ModelKind, tuple[str, ...]] = {
    "embedding": ("modules.json", "[0-9]_*/config.json", "config_sentence_transformers.json"),
    "classifier": ONNX,
    "tagger": ONNX,
    "tabular": TABULAR,
}


def model_files(names: Iterable[str], kind: ModelKind = "language") -> list[str]:
    """Those that belong to the model, as paths in its folder. The manifest's own name is never taken from elsewhere."""
    found = sorted(name for name in names if _belongs(name, kind) and not _is_one(name, PICKLES))
    has_safetensors = any(fnmatch(name, SAFETENSORS) for name in found)
    return [name for name in found if name not in ONNX or not has_safetensors]  # the same weights once more


def _belongs(name: str, kind: ModelKind) -> bool:
    return ("/" not in name and _is_one(name, LAYOUT)) or _is_one(name, BESIDES.get(kind, ()))


def has_weights(names: Iterable[str], kind: ModelKind) -> bool:
    wanted = TABULAR if kind == "tabular" else (SAFETENSORS, *(ONNX if kind in ("classifier", "tagger") else ()))
    return any("/" not in name.removeprefix("onnx/") and _is_one(name, wanted) for name in names)


def pickles(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if _is_one(name, PICKLES))


def _is_one(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
