"""Turns what was fetched into a folder that loads at once: config.json, tokenizer files, safetensors.

The work that needs torch and transformers runs in a child process: it takes gigabytes and writes to the terminal.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.models.child import run_module
from service.models.errors import PickledWeights, PrepareFailed, UnsupportedModel
from service.models.layout import ModelKind, has_weights, model_files, pickles
from service.models.prepare.archive import is_archive, unpack
from service.models.prepare.table import take_table
from service.models.progress import Progress

GGUF_MAGIC = b"GGUF"
WEIGHTS_SUFFIX = ".safetensors"
WITH_TOKENIZER: tuple[ModelKind, ...] = ("language", "embedding", "classifier", "tagger")
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_OFFLINE": "1",  # everything is on this disk already
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a manifest says about the weights: how they are packed, and what the dense ones are stored as."""

    quantization: str | None = None
    dtype: str | None = None


def prepare(
    fetched: Path,
    destination: Path,
    progress: Progress,
    kind: ModelKind = "language",
    *,
    allow_pickle: bool = False,
    may_link: bool = False,
) -> Facts:
    """Fills the new folder `destination`. Raises `PrepareFailed`.

    `may_link` says that nobody writes to what was fetched. A folder of the operator's is copied: whoever writes a newer
    model over it would change the one that is served.
    """
    destination.mkdir()
    if fetched.is_file() and is_archive(fetched, kind):
        progress.step(f"unpacking {fetched.name}")
        fetched = unpack(fetched, destination.with_name("unpacked"), kind)
    if kind == "tabular":
        take_table(fetched, destination, allow_pickle=allow_pickle)
        return Facts()
    if fetched.is_dir():
        return _take_folder(fetched, destination, progress, kind, may_link=may_link)
    with fetched.open("rb") as file:
        magic = file.read(len(GGUF_MAGIC))
    if kind != "language":
        raise UnsupportedModel(f"{fetched.name} is one file; a model of kind {kind} is a folder with safetensors")
    if magic != GGUF_MAGIC:
        raise UnsupportedModel(f"{fetched.name} is no GGUF file; a source is a GGUF file or a folder with safetensors")
    alone = destination.with_name("gguf")  # transformers would also read a stranger's tokenizer beside the file
    alone.mkdir()
    (alone / "model.gguf").symlink_to(fetched.resolve())
    return _convert("service.models.prepare.gguf", [str(alone / "model.gguf"), str(destination)], progress)


def _take_folder(folder: Path, destination: Path, progress: Progress, kind: ModelKind, *, may_link: bool) -> Facts:
    names = sorted(file.relative_to(folder).as_posix() for file in folder.glob("**/*") if file.is_file())
    _check_names(folder, names, kind)
    progress.step("linking the files" if may_link else "copying the files")
    for name in model_files(names, kind):
        (destination / name).parent.mkdir(exist_ok=True)
        place((folder / name).resolve(), destination / name, may_link=may_link)
    if "tokenizer.json" not in names and kind in WITH_TOKENIZER:
        _convert("service.models.prepare.tokenizer", [str(destination)], progress)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    return Facts(dtype=config.get("dtype") or config.get("torch_dtype"))


def _check_names(folder: Path, names: list[str], kind: ModelKind) -> None:
    if not has_weights(names, kind):
        if found := pickles(names):
            raise PickledWeights(
                f"{folder}: {found[0]} is a pickle, which runs code when it is loaded; convert it to safetensors first"
            )
        raise UnsupportedModel(f"{folder}: holds no *.safetensors")
    if "config.json" not in names:
        raise UnsupportedModel(f"{folder}: holds no config.json")


def place(source: Path, target: Path, *, may_link: bool) -> None:
    """Weights become hard links, which cost no space and outlive the original. The rest is copied: it is small, and
    converting a tokenizer writes to it."""
    if may_link and target.suffix == WEIGHTS_SUFFIX:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without links
            pass
    shutil.copyfile(source, target)


def _convert(module: str, arguments: list[str], progress: Progress) -> Facts:
    """The child writes one JSON object a line: `{"step": …}` while it works, then `{"facts": …}` or `{"error": …}`."""
    answer: dict[str, Any] = {}

    def read(line: str) -> None:
        message = _message(line)
        if "step" in message:
            progress.step(str(message["step"]))
        answer.update(message)

    outcome = run_module(module, arguments, read, QUIET)
    if "error" in answer:
        raise UnsupportedModel(str(answer["error"]))
    if outcome.code != 0 or "facts" not in answer:
        reason = outcome.last_lines[-1] if outcome.last_lines else "it said nothing"
        raise PrepareFailed(f"converting stopped with exit status {outcome.code}: {reason}")
    return Facts(**answer["facts"])


def _message(line: str) -> dict[str, Any]:
    """Libraries write to the same pipe: what is no JSON object is theirs."""
    try:
        message = json.loads(line)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
