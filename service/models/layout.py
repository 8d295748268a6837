"""Which files of a folder or repository make a text model: the layout of model hubs, no code, no pickles."""

from collections.abc import Iterable
from fnmatch import fnmatch

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


def model_files(names: Iterable[str]) -> list[str]:
    """Those at the top that belong to the model. The manifest's own name is ours and never taken from elsewhere."""
    return sorted(name for name in names if "/" not in name and _is_one(name, LAYOUT) and not _is_one(name, PICKLES))


def has_safetensors(names: Iterable[str]) -> bool:
    return any("/" not in name and fnmatch(name, SAFETENSORS) for name in names)


def pickles(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if _is_one(name, PICKLES))


def _is_one(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
