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
# What a kind has besides: an embedding model says in these how its tokens become one vector.
BESIDES: Mapping[ModelKind, tuple[str, ...]] = {
    "embedding": ("modules.json", "[0-9]_*/config.json", "config_sentence_transformers.json"),
}


def model_files(names: Iterable[str], kind: ModelKind = "language") -> list[str]:
    """Those that belong to the model, as paths in its folder. The manifest's own name is never taken from elsewhere."""
    return sorted(name for name in names if _belongs(name, kind) and not _is_one(name, PICKLES))


def _belongs(name: str, kind: ModelKind) -> bool:
    return ("/" not in name and _is_one(name, LAYOUT)) or _is_one(name, BESIDES.get(kind, ()))


def has_safetensors(names: Iterable[str]) -> bool:
    return any("/" not in name and fnmatch(name, SAFETENSORS) for name in names)


def pickles(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if _is_one(name, PICKLES))


def _is_one(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
