"""Pulling is atomic, checked and safe in company: mismatches, kills at every step, two pulls at once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.models.config import ModelEntry, load_catalog
from service.models.errors import Mismatch, NotAtSource, NotEnoughSpace, UnsupportedModel
from service.models.layout import model_files
from service.models.progress import SilentProgress
from service.models.reference import Reference
from service.models.store import MANIFEST, WORK, ModelStore
from tests.service.models.servers import Site, files_below
from tests.service.models.tiny import folder_members, sha256, tarball, write_folder, write_gguf
from tests.service.predictors.tiny_encoder import write_encoder

ROOT = Path(__file__).parents[3]
PULL = Path(__file__).with_name("pull_process.py")
DEADLINE_S = 60
OTHER_COMMIT = "f" * 40


class Recorder(SilentProgress):
    def __init__(self) -> None:
        self.labels: list[str] = []
        self.lines: list[str] = []

    def step(self, label: str, total_bytes: int | None = None) -> None:
        self.labels.append(label)

    def say(self, line: str) -> None:
        self.lines.append(line)


def in_two_parts(site: Site, content: bytes, **changes: object) -> ModelEntry:
    half = len(content) // 2
    site.add_npm("part1", "1.0.0", tarball({"package/part": content[:half]}))
    site.add_npm("part2", "1.0.0", tarball({"package/part": content[half:]}))
    fields = {
        "name": "tiny",
        "references": (Reference("npm", "part1", "1.0.0"), Reference("npm", "part2", "1.0.0")),
        "file": "package/part",
        "size_bytes": len(content),
        "sha256": sha256(content),
    }
    return ModelEntry.model_validate(fields | changes)


def folder_entry(site: Site, folder: Path) -> ModelEntry:
    """A model that needs no conversion, so a test of it takes milliseconds."""
    site.add_npm("folder", "1.0.0", tarball(folder_members(folder, "package/model/")))
    return ModelEntry(name="tiny", references=(Reference("npm", "folder", "1.0.0"),), file="package/model/")


def leftovers(store: ModelStore) -> list[str]:
    return files_below(store.models_dir / WORK)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def test_two_parts_become_one_prepared_model(local_sources: Site, store: ModelStore, tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "model.gguf").read_bytes()
    entry = in_two_parts(local_sources, content)
    assert store.prepared(entry) is None
    model = store.pull(entry)
    assert model == store.prepared(entry)
    assert store.list() == [model]
    assert model.path == store.models_dir / f"tiny-{model.version}"
    manifest = json.loads((model.path / MANIFEST).read_text())
    assert {
        key: manifest[key] for key in ("format", "name", "version", "kind", "source", "sha256", "quantization")
    } == {
        "format": 1,
        "name": "tiny",
        "version": model.version,
        "kind": "language",
        "source": "npm:part1@1.0.0 + npm:part2@1.0.0",
        "sha256": sha256(content),
        "quantization": "q4_1",
    }
    assert manifest["size_bytes"] == sum(f.stat().st_size for f in model.path.iterdir() if f.name != MANIFEST)
    assert leftovers(store) == []


def test_what_is_prepared_is_not_fetched_again(local_sources: Site, store: ModelStore, tmp_path: Path) -> None:
    entry = folder_entry(local_sources, write_folder(tmp_path / "m"))
    first = store.pull(entry)
    local_sources.answers.clear()
    progress = Recorder()
    assert store.pull(entry, progress) == first
    assert progress.labels == []


def test_entries_with_the_same_content_share_one_copy(local_sources: Site, store: ModelStore, tmp_path: Path) -> None:
    entry = folder_entry(local_sources, write_folder(tmp_path / "m"))
    first = store.pull(entry)
    other = store.prepared(entry.model_copy(update={"name": "other"}))
    assert other is not None
    assert (other.name, other.path) == ("other", first.path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"size_bytes": 10**6}, r"is [\d,]+ bytes long, expected 1,000,000"),
        ({"sha256": "0" * 64}, "has sha256 [0-9a-f]{64}, expected 0{64}"),
    ],
)
def test_another_file_than_declared_is_removed(
    local_sources: Site, store: ModelStore, changes: dict[str, object], words: str
) -> None:
    entry = in_two_parts(local_sources, b"GGUF" + bytes(5000), **changes)
    with pytest.raises(Mismatch, match=words):
        store.pull(entry)
    assert store.list() == []
    assert leftovers(store) == []


def test_a_model_larger_than_the_disk_is_refused_before_the_download(local_sources: Site, store: ModelStore) -> None:
    with pytest.raises(NotEnoughSpace, match="needs 2,000,000,000,000,000,000 bytes in"):
        store.pull(in_two_parts(local_sources, b"GGUF", size_bytes=10**18))
    assert local_sources.requested == []
    assert leftovers(store) == []


def test_a_damaged_copy_is_prepared_again(local_sources: Site, store: ModelStore, tmp_path: Path) -> None:
    entry = folder_entry(local_sources, write_folder(tmp_path / "m"))
    model = store.pull(entry)
    (model.path / "model.safetensors").write_bytes(b"cut")
    assert store.prepared(entry) is None
    assert store.pull(entry).path == model.path
    assert store.prepared(entry) is not None
    (model.path / MANIFEST).write_text("{")
    assert store.prepared(entry) is None
    store.pull(entry)
    assert store.prepared(entry) is not None
    assert leftovers(store) == []


def test_a_branch_of_a_hub_follows_the_branch(
    site: Site, store: ModelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: the hub's library reads its environment when it is imported."""
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    entry = ModelEntry(name="tiny", references=(Reference("hf", "owner/tiny"),))
    site.add_repository("owner/tiny", folder_members(write_folder(tmp_path / "a"), ""))
    first = pull_elsewhere(store, entry)
    assert store.prepared(entry) is not None
    site.add_repository("owner/tiny", folder_members(write_folder(tmp_path / "b", seed=1), ""), OTHER_COMMIT)
    second = pull_elsewhere(store, entry)
    newest = store.prepared(entry)
    assert newest is not None
    assert first != second
    assert newest.version == second
    assert newest.manifest.source == f"hf:owner/tiny@{OTHER_COMMIT}"
    assert (newest.path / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_a_local_model_is_prepared_and_stays_where_it_is(store: ModelStore, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    entry = ModelEntry(name="own", references=(Reference("file", str(folder)),))
    before = folder_members(folder, "")
    assert store.pull(entry).manifest.source == f"file:{folder}"
    assert folder_members(folder, "") == before
    gone = ModelEntry(name="own", references=(Reference("file", str(tmp_path / "gone")),))
    with pytest.raises(NotAtSource):
        store.pull(gone)


def test_another_name_for_the_folder_of_models_is_no_model(store: ModelStore) -> None:
    (store.models_dir / "odd").mkdir(parents=True)
    (store.models_dir / "odd" / MANIFEST).write_text("[]")
    assert store.list() == []


def test_finding_a_model_imports_no_library(local_sources: Site, store: ModelStore, tmp_path: Path) -> None:
    store.pull(folder_entry(local_sources, write_folder(tmp_path / "m")))
    entry = folder_entry(local_sources, tmp_path / "m")
    assert store.prepared(entry) is not None
    code = (
        "import sys, service.models.store, service.models.config as c; from pathlib import Path\n"
        "service.models.store.ModelStore(Path('none')).prepared(c.load_models(None)['default'])\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'httpx', 'numpy', 'gguf'} & set(sys.modules)\n"
        "sys.stdout.write(str(sorted(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]"


@contextmanager
def start(store: ModelStore, entry: ModelEntry, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A pull in another process, which does not outlive the test when that fails."""
    command = [sys.executable, str(PULL), str(store.models_dir), entry.model_dump_json(), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def pull_elsewhere(store: ModelStore, entry: ModelEntry) -> str:
    with start(store, entry) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    return output.splitlines()[-1]


def test_of_two_pulls_at_once_one_works_and_the_other_waits(
    local_sources: Site, store: ModelStore, tmp_path: Path
) -> None:
    entry = folder_entry(local_sources, write_folder(tmp_path / "m"))
    with start(store, entry, "hold") as first:
        assert first.stdout is not None
        assert first.stdin is None
        held = first.stdout.readline()  # inside the lock, before the first byte
        assert held == "step asking " + local_sources.url + "\n"
        with start(store, entry) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "say another pull of tiny runs; waiting for it\n"
            os.kill(first.pid, signal.SIGUSR1)
            outputs = [process.communicate(timeout=DEADLINE_S)[0].splitlines() for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert outputs[0][-1] == outputs[1][-1]
    assert len(outputs[1]) == 1, "the second one fetches nothing"
    assert local_sources.requested.count("/tarballs/folder-1.0.0.tgz") == 1
    assert leftovers(store) == []


def test_a_kill_at_any_step_leaves_nothing_half_visible(local_sources: Site, store: ModelStore, tmp_path: Path) -> None:
    """Killed at its n-th change of the folder, for every n; each time the next pull succeeds and leaves no trace."""
    entry = folder_entry(local_sources, write_folder(tmp_path / "m"))
    with start(store, entry, "kill-everywhere") as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, errors
    killed = int(output.splitlines()[-1])
    assert killed > 20


@pytest.mark.parametrize("step", ["joining the parts", "packing the weights"])
def test_a_kill_during_download_or_conversion_is_made_good(
    local_sources: Site, store: ModelStore, tmp_path: Path, step: str
) -> None:
    entry = in_two_parts(local_sources, write_gguf(tmp_path / "model.gguf").read_bytes())
    with start(store, entry, "kill-at", step) as process:
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == -signal.SIGKILL
    assert store.prepared(entry) is None
    assert leftovers(store) != []
    local_sources.requested.clear()
    progress = Recorder()
    assert store.pull(entry, progress) == store.prepared(entry)
    assert leftovers(store) == []
    was_checked = step == "packing the weights"
    assert (local_sources.requested == []) is was_checked, "a checked download is used, an unchecked one is not"


def test_the_next_pull_removes_what_a_killed_pull_of_another_model_left(
    local_sources: Site, store: ModelStore, tmp_path: Path
) -> None:
    killed = in_two_parts(local_sources, b"GGUF" + bytes(5000), name="killed")
    with start(store, killed, "kill-at", "joining the parts") as process:
        process.communicate(timeout=DEADLINE_S)
    assert leftovers(store) != []
    store.pull(folder_entry(local_sources, write_folder(tmp_path / "m")))
    assert leftovers(store) == []


def test_an_interrupt_removes_what_was_begun(local_sources: Site, store: ModelStore) -> None:
    entry = in_two_parts(local_sources, b"GGUF" + bytes(5000))
    with start(store, entry, "interrupt-at", "joining the parts") as process:
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode != 0
    assert leftovers(store) == []


def test_an_embedding_model_keeps_what_says_how_to_pool(store: ModelStore, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "m")
    entry = ModelEntry(name="vectors", kind="embedding", references=(Reference("file", str(folder)),))
    model = store.pull(entry)
    assert {"modules.json", "1_Pooling/config.json", "model.safetensors"} <= set(model.manifest.files)
    assert (model.path / "1_Pooling/config.json").read_bytes() == (folder / "1_Pooling/config.json").read_bytes()
    (model.path / "1_Pooling/config.json").unlink()
    assert store.prepared(entry) is None


def test_a_model_of_another_kind_is_no_single_file(store: ModelStore, tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    with pytest.raises(UnsupportedModel, match="folder"):
        store.pull(ModelEntry(name="vectors", kind="embedding", references=(Reference("file", str(path)),)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"config.json": "0" * 64}, "holds config.json with sha256 [0-9a-f]{64}, expected 0{64}"),
        ({"tokenizer.json": None}, "holds tokenizer.json, which has no sha256"),
        ({"vocab.txt": "0" * 64}, "does not hold vocab.txt"),
    ],
)
def test_a_folder_is_taken_only_when_each_of_its_files_is_the_declared_one(
    store: ModelStore, tmp_path: Path, changed: dict[str, str | None], words: str
) -> None:
    folder = write_encoder(tmp_path / "m")
    (folder / "README.md").write_text("not a part of the model")
    names = [file.relative_to(folder).as_posix() for file in folder.glob("**/*") if file.is_file()]
    digests = {name: sha256((folder / name).read_bytes()) for name in model_files(names, "embedding")}
    entry = ModelEntry(name="vectors", kind="embedding", references=(Reference("file", str(folder)),), digests=digests)
    wrong = {name: sha256 for name, sha256 in {**digests, **changed}.items() if sha256 is not None}
    with pytest.raises(Mismatch, match=words):
        store.pull(entry.model_copy(update={"digests": wrong}))
    assert store.list() == []
    assert store.pull(entry).version != store.pull(entry.model_copy(update={"digests": {}})).version


def test_every_file_of_the_builtin_embedding_model_is_pinned() -> None:
    digests = load_catalog()["embeddings"].digests
    assert {"model.safetensors", "tokenizer.json", "1_Pooling/config.json"} <= digests.keys()
    assert model_files(digests, "embedding") == sorted(digests)
