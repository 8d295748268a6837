"""Takes the one file of a tabular model, and tells by its bytes what it is."""

import shutil
from pathlib import Path

from service.models.errors import PickledWeights, UnsupportedModel
from service.models.layout import model_files, pickles

SKOPS, ONNX, PICKLE = "model.skops", "model.onnx", "model.pickle"
ZIP_MAGIC = b"PK\x03\x04"
ONNX_MAGIC = b"\x08"  # its first field is the version of its format; no pickle begins with that


def take_table(fetched: Path, destination: Path, *, allow_pickle: bool) -> None:
    """Raises `PrepareFailed`."""
    file = only_file(fetched) if fetched.is_dir() else fetched
    with file.open("rb") as opened:
        head = opened.read(len(ZIP_MAGIC))
    name = SKOPS if head == ZIP_MAGIC else ONNX if head[:1] == ONNX_MAGIC else PICKLE
    if name == PICKLE and not allow_pickle:
        raise PickledWeights(
            f"{file.name} is a pickle, which runs code when it is loaded; save the model with skops, or name its "
            "sha256 and set allow_pickle = true if you know who made it"
        )
    shutil.copyfile(file, destination / name)


def only_file(folder: Path) -> Path:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    found = [name for name in model_files(names, "tabular") if name.endswith((".skops", ".onnx"))] or pickles(names)
    if len(found) != 1:
        raise UnsupportedModel(f"{folder}: a tabular model is one file, and here are {len(found)}: {', '.join(found)}")
    return folder / found[0]
