"""A server with one small model of every kind beside the echo engine, all made by the tests."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.linear_model import LinearRegression, LogisticRegression

from service.models.config import load_models
from service.models.store import ModelStore
from tests.server import RunningServer, echo_settings, serving
from tests.service.predictors.graphs import write_regressor
from tests.service.predictors.test_image import write_classifier as write_image_classifier
from tests.service.predictors.tiny_encoder import write_encoder
from tests.service.predictors.tiny_texts import write_tagger, write_text_classifier

TAGS = ["O", "B-PART", "I-PART", "B-MONEY"]
TAG_OF = {"pump": "B-PART", "seal": "I-PART", "price": "B-MONEY", "valve": "B-PART"}
LABELS = ("bad", "fair", "good")


def write_wine(path: Path) -> Path:
    """Class 1 where the first of two features is positive."""
    rows = np.random.default_rng(1).normal(size=(80, 2))
    skops.io.dump(LogisticRegression().fit(rows, (rows[:, 0] > 0).astype(int)), path)
    return path


def write_house(path: Path) -> Path:
    """A price of twice the area plus three for each room."""
    rows = np.random.default_rng(1).normal(size=(80, 2))
    skops.io.dump(LinearRegression().fit(rows, rows @ [2, 3]), path)
    return path


def sources(folder: Path) -> dict[str, dict[str, Any]]:
    encoder = write_encoder(folder / "encoder")
    return {
        "wine": {"kind": "tabular", "source": write_wine(folder / "wine.skops")},
        "house": {"kind": "tabular", "source": write_house(folder / "house.skops"), "features": ["area", "rooms"]},
        "graph": {"kind": "tabular", "source": write_regressor(folder / "graph.onnx", [2.0, 3.0], 1.0)},
        "tone": {"kind": "classifier", "source": write_text_classifier(folder / "tone", LABELS)},
        "any": {"kind": "classifier", "source": encoder, "labels": ["pump", "price"]},
        "parts": {"kind": "tagger", "source": write_tagger(folder / "parts", TAG_OF, TAGS)},
        "vectors": {"kind": "embedding", "source": encoder},
        "pictures": {"kind": "image", "source": write_image_classifier(folder / "pictures")},
        "sum": {"kind": "linear", "weights": [1.0, 2.0]},
    }


def write_models(folder: Path, entries: dict[str, dict[str, Any]]) -> Path:
    lines = []
    for name, entry in entries.items():
        lines.append(f"[models.{name}]")
        for key, value in entry.items():
            lines.append(f"{key} = {json.dumps(f'file:{value}' if isinstance(value, Path) else value)}")
    models = folder / "models.toml"
    models.write_text("\n".join(lines) + "\n")
    return models


@contextmanager
def serving_all(folder: Path, **given: Any) -> Iterator[RunningServer]:
    models = write_models(folder, sources(folder))
    store = ModelStore(folder / "prepared")
    for entry in load_models(models).values():
        if entry.references:
            store.pull(entry)
    settings = echo_settings(
        models=models, models_dir=folder / "prepared", data_dir=folder / "data", model_patience_s=60, **given
    )
    with serving(settings) as running:
        yield running
