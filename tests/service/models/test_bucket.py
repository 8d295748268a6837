"""`s3:` against a real S3 server: objects and folders, newest and pinned, and what is refused."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import obstore
import pytest

from service.models.config import load_models
from service.models.errors import InvalidModels, Mismatch, NotAtSource, SourceUnreachable
from service.models.progress import SilentProgress
from service.models.reference import Reference, parse_reference
from service.models.sources import Wanted
from service.models.sources.bucket import BucketSource
from service.models.store import ModelStore
from tests.objects import CREDENTIALS, ObjectServer, object_server
from uploads.stores.s3 import open_s3

VERSIONING = (
    '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    "<Status>Enabled</Status></VersioningConfiguration>"
)
FILES = {
    "config.json": b'{"dtype": "float32"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "README": b"",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    with object_server() as running:
        yield running


@pytest.fixture
def bucket(server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an empty bucket that the environment leads to."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": server.endpoint}.items():
        monkeypatch.setenv(name, value)
    return server.new_bucket().removeprefix("s3://")


def put(bucket: str, key: str, content: bytes) -> None:
    obstore.put(open_s3(f"s3://{bucket}", os.environ["AWS_ENDPOINT_URL"]), key, content)


def source(bucket: str, key: str, version: str | None = None) -> BucketSource:
    return BucketSource(Reference("s3", f"{bucket}/{key}", version))


def test_an_object_comes_whole_and_a_pin_names_its_content(bucket: str, tmp_path: Path) -> None:
    put(bucket, "models/a.gguf", b"one")
    pinned = source(bucket, "models/a.gguf").pin()
    assert pinned.is_fixed
    assert BucketSource(pinned).pin() == pinned
    found = BucketSource(pinned).fetch(Wanted(), tmp_path / "a", SilentProgress())
    assert found.read_bytes() == b"one"
    put(bucket, "models/a.gguf", b"two")
    with pytest.raises(NotAtSource, match="changed since"):
        BucketSource(pinned).fetch(Wanted(), tmp_path / "b", SilentProgress())
    assert source(bucket, "models/a.gguf").pin() != pinned
    assert source(bucket, "models/a.gguf").fetch(Wanted(), tmp_path / "c", SilentProgress()).read_bytes() == b"two"


def test_a_versioned_bucket_gives_back_an_older_version(bucket: str, tmp_path: Path) -> None:
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}?versioning"
    httpx.put(address, content=VERSIONING).raise_for_status()
    put(bucket, "a.gguf", b"one")
    first = source(bucket, "a.gguf").pin()
    put(bucket, "a.gguf", b"two")
    assert BucketSource(first).fetch(Wanted(), tmp_path / "a", SilentProgress()).read_bytes() == b"one"


def test_a_folder_comes_as_the_files_of_a_model(bucket: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        put(bucket, f"models/tiny/{name}", content)
    pinned = source(bucket, "models/tiny/").pin()
    folder = BucketSource(pinned).fetch(Wanted(), tmp_path / "tiny", SilentProgress())
    assert sorted(file.name for file in folder.iterdir()) == sorted(set(FILES) - {"README"})
    put(bucket, "models/tiny/model.safetensors", b"others")
    with pytest.raises(NotAtSource, match="changed since"):
        BucketSource(pinned).fetch(Wanted(), tmp_path / "again", SilentProgress())


def test_what_cannot_be_had_says_why(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAtSource):
        source(bucket, "none.gguf").pin()
    with pytest.raises(NotAtSource):
        source(bucket, "none/").pin()
    put(bucket, "a.gguf", b"too long")
    with pytest.raises(Mismatch):
        source(bucket, "a.gguf").fetch(Wanted(max_bytes=3), tmp_path / "a", SilentProgress())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SourceUnreachable):
        source(bucket, "a.gguf").pin()


def test_an_entry_names_a_bucket_and_its_version_follows_the_content(bucket: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        put(bucket, f"tiny/{name}", content)
    models = tmp_path / "models.toml"
    models.write_text(f'[models.tiny]\nkind = "embedding"\nsource = "s3:{bucket}/tiny/"\n')
    entry, store = load_models(models)["tiny"], ModelStore(tmp_path / "models")
    first = store.pull(entry)
    assert (first.path / "model.safetensors").read_bytes() == b"weights"
    put(bucket, "tiny/model.safetensors", b"others")
    second = store.pull(entry)
    assert second.version != first.version
    assert [one.version for one in store.versions(entry)] == [first.version, second.version]


@pytest.mark.parametrize("text", ["s3:", "s3:bucket", "s3:Bucket/a", "s3:bucket/a@", "s3:../a"])
def test_a_source_that_is_not_well_formed_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidModels):
        parse_reference(text, tmp_path)
