import os
from pathlib import Path

from service.models.config import ModelEntry
from service.models.identity import request_of, version_of
from service.models.reference import Reference

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def entry(*references: Reference, file: str | None = None, sha256: str | None = None, name: str = "tiny") -> ModelEntry:
    return ModelEntry(name=name, references=references, file=file, sha256=sha256)


def test_the_checksum_alone_decides_where_there_is_one() -> None:
    one = entry(Reference("pypi", "tiny", "1"), file="a", sha256="0" * 64)
    mirror = entry(Reference("npm", "other", "2"), file="b", sha256="0" * 64, name="other")
    changed = entry(Reference("pypi", "tiny", "1"), file="a", sha256="1" * 64)
    assert version_of(one) == version_of(mirror)
    assert version_of(one) != version_of(changed)
    assert len(version_of(one) or "") == 12


def test_without_a_checksum_the_source_and_the_member_decide() -> None:
    versions = {
        version_of(entry(Reference("pypi", name, version), file=file))
        for name in ("a", "b")
        for version in ("1", "2")
        for file in ("x", "y")
    }
    assert len(versions) == 8


def test_an_edited_local_model_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    one = entry(Reference("file", str(path)))
    before = version_of(one)
    os.utime(path, ns=(1, 1))
    assert version_of(one) not in (before, None)
    path.unlink()
    assert version_of(one) is None


def test_a_branch_of_a_hub_has_no_version_and_a_commit_has() -> None:
    assert version_of(entry(Reference("hf", "o/r"))) is None
    assert version_of(entry(Reference("hf", "o/r", "main"))) is None
    assert version_of(entry(Reference("hf", "o/r", COMMIT))) is not None
    assert request_of(entry(Reference("hf", "o/r"))) != request_of(entry(Reference("hf", "o/r", "main")))
