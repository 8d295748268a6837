"""What `models.toml` may say about the kinds of model, and what becomes of their files."""

import hashlib
import json
import pickle
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from service.models.config import ModelEntry, load_catalog, load_models
from service.models.errors import InvalidModels, PickledWeights, UnsafeArchive, UnsupportedModel
from service.models.identity import version_without_files
from service.models.one_shot_loaders import load_classifier, load_linear, load_tabular
from service.models.store import ModelStore
from tests.server import echo_settings
from tests.service.predictors.graphs import write_regressor
from tests.service.predictors.tiny_encoder import write_encoder
from tests.service.predictors.tiny_texts import write_onnx_classifier, write_text_classifier

FITTED = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {json.dumps(one)}" for name, one in value.items()) + "}"
    return json.dumps(value)


def listed(folder: Path, **entry: Any) -> ModelEntry:
    lines = ["[models.m]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    (folder / "models.toml").write_text("\n".join(lines))
    return load_models(folder / "models.toml")["m"]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"kind": "tabular"}, "needs one of source"),
        ({"kind": "linear", "weights": []}, "weights"),
        ({"kind": "linear", "weights": [True]}, "weights"),
        ({"kind": "linear", "weights": [1e101]}, "weights"),
        ({"kind": "linear", "labels": ["a", "b"]}, "labels is for models of kind classifier or tabular"),
        ({"kind": "linear", "sha256": "0" * 64}, "there is none"),
        ({"kind": "language", "source": "file:x", "weights": [1.0]}, "weights is for models of kind linear"),
        ({"kind": "tabular", "source": "file:x", "allow_pickle": True}, "allow_pickle needs the sha256"),
        ({"kind": "classifier", "source": "file:x", "labels": ["a"]}, "at least two"),
        ({"kind": "classifier", "source": "file:x", "labels": ["a", "a", "b"]}, "each stands there once"),
        (
            {"kind": "classifier", "source": "file:x", "labels": ["a", "b"], "descriptions": {"c": ["x"]}},
            "descriptions are of labels",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(tmp_path: Path, entry: dict[str, Any], says: str) -> None:
    lines = [f"{key} = {as_toml(value)}" for key, value in entry.items()]
    (tmp_path / "models.toml").write_text("[models.m]\n" + "\n".join(lines))
    with pytest.raises(InvalidModels, match=says):
        load_models(tmp_path / "models.toml")


def test_the_built_in_models_are_there() -> None:
    catalog = load_catalog()
    kinds = {name: catalog[name].kind for name in ("sentiment", "embeddings", "linear", "image")}
    assert kinds == {"sentiment": "classifier", "embeddings": "embedding", "linear": "linear", "image": "image"}
    linear = load_linear(catalog["linear"], None, echo_settings())
    assert linear.predict([linear.read({"features": [1, 2, 3, 4]})])[0]["prediction"] == 3.0


def test_a_model_without_files_has_the_version_of_what_its_entry_says(tmp_path: Path) -> None:
    one, other = (listed(tmp_path, kind="linear", weights=weights) for weights in ([1.0], [2.0]))
    assert version_without_files(one) != version_without_files(other)
    assert version_without_files(one) == version_without_files(one.model_copy())


def test_a_classifier_for_any_labels_shares_the_copy_of_its_encoder(tmp_path: Path) -> None:
    source = f"file:{write_encoder(tmp_path / 'encoder')}"
    store = ModelStore(tmp_path / "models")
    encoder = store.pull(listed(tmp_path, kind="embedding", source=source))
    entry = listed(tmp_path, kind="classifier", source=source, labels=["pump", "price"])
    prepared = store.pull(entry)
    assert prepared.path == encoder.path
    model = load_classifier(entry, prepared, echo_settings())
    assert model.version == encoder.version
    assert set(model.predict([model.read({"text": "pump"})])[0]["scores"]) == {"pump", "price"}


@pytest.mark.parametrize("form", ["safetensors", "onnx"])
def test_a_classifier_is_taken_in_both_forms(tmp_path: Path, form: str) -> None:
    write = write_text_classifier if form == "safetensors" else write_onnx_classifier
    folder = write(tmp_path / "model", ("bad", "fair", "good"))
    entry = listed(tmp_path, kind="classifier", source=f"file:{folder}")
    prepared = ModelStore(tmp_path / "models").pull(entry)
    model = load_classifier(entry, prepared, echo_settings())
    assert model.version == prepared.version
    assert model.predict([model.read({"text": "pump"})])[0]["prediction"] in ("bad", "fair", "good")


def test_a_tagger_needs_its_weights(tmp_path: Path) -> None:
    folder = write_text_classifier(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PickledWeights):
        ModelStore(tmp_path / "models").pull(listed(tmp_path, kind="tagger", source=f"file:{folder}"))


@pytest.mark.parametrize("form", ["skops", "onnx", "folder"])
def test_a_table_is_taken_as_it_is(tmp_path: Path, form: str) -> None:
    (tmp_path / "kept").mkdir()
    path = tmp_path / "kept" / f"model.{'onnx' if form == 'onnx' else 'skops'}"
    if form == "onnx":
        write_regressor(path, [2.0], 0.0)
    else:
        skops.io.dump(FITTED, path)
    (tmp_path / "kept" / "README.md").write_text("A model.")
    entry = listed(tmp_path, kind="tabular", source=f"file:{path.parent if form == 'folder' else path}", features=["x"])
    model = load_tabular(entry, ModelStore(tmp_path / "models").pull(entry), echo_settings())
    assert model.predict([model.read({"x": 3})])[0]["prediction"] == pytest.approx(6)


def test_a_pickle_is_taken_only_with_permission_for_its_very_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(FITTED))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    store = ModelStore(tmp_path / "models")
    for more in ({}, {"sha256": sha256}):
        with pytest.raises(PickledWeights, match="allow_pickle"):
            store.pull(listed(tmp_path, kind="tabular", source=f"file:{path}", **more))
    entry = listed(tmp_path, kind="tabular", source=f"file:{path}", sha256=sha256, allow_pickle=True)
    prepared = store.pull(entry)
    model = load_tabular(entry, prepared, echo_settings())
    assert model.predict([model.read({"feature_1": 3})])[0]["prediction"] == pytest.approx(6)


def test_a_folder_with_two_tables_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for name in ("a.skops", "b.skops"):
        skops.io.dump(FITTED, tmp_path / "kept" / name)
    with pytest.raises(UnsupportedModel, match="one file, and here are 2"):
        ModelStore(tmp_path / "models").pull(listed(tmp_path, kind="tabular", source=f"file:{tmp_path / 'kept'}"))


def packed(folder: Path, form: str) -> Path:
    return Path(shutil.make_archive(str(folder), form, folder.parent, folder.name))


@pytest.mark.parametrize("form", ["zip", "gztar", "tar"])
def test_a_folder_may_come_as_an_archive(tmp_path: Path, form: str) -> None:
    folder = write_text_classifier(tmp_path / "model")
    (folder / "modeling.py").write_text("raise SystemExit")
    archive = packed(folder, form)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    entry = listed(tmp_path, kind="classifier", source=f"file:{archive}", sha256=sha256)
    prepared = ModelStore(tmp_path / "models").pull(entry)
    assert "modeling.py" not in prepared.manifest.files
    model = load_classifier(entry, prepared, echo_settings())
    assert model.predict([model.read({"text": "pump"})])[0]["prediction"] in ("bad", "fair", "good")


def test_an_archive_cannot_reach_outside_its_folder(tmp_path: Path) -> None:
    for name, kind in (("../model.safetensors", tarfile.REGTYPE), ("model.safetensors", tarfile.SYMTYPE)):
        archive = tmp_path / "model.tar"
        with tarfile.open(archive, "w") as opened:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            opened.addfile(member)
            opened.addfile(tarfile.TarInfo("config.json"))
        with pytest.raises((UnsafeArchive, UnsupportedModel)):
            ModelStore(tmp_path / "models").pull(listed(tmp_path, kind="classifier", source=f"file:{archive}"))
    assert not (tmp_path / "model.safetensors").exists()
