"""Whatever a client calls its file, the label is one harmless line."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploads.errors import InvalidFilename
from uploads.labels import LABEL_BYTES_MAX, UNNAMED, label_of


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("report.pdf", "report.pdf"),
        ("Bericht über Käse.pdf", "Bericht über Käse.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.txt", "a.txt"),
        ("folder/", "folder"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("exe.\u202efdp", "exe.fdp"),
        ("\u0646\u0627\u0645\u0647\u200c\u0647\u0627.txt", "\u0646\u0627\u0645\u0647\u200c\u0647\u0627.txt"),
        (".bashrc", ".bashrc"),
        ("", UNNAMED),
        (None, UNNAMED),
        ("..", UNNAMED),
        ("/", UNNAMED),
        (" ", UNNAMED),
        ("\x1b\x07", UNNAMED),
    ],
)
def test_a_name_becomes_a_label(name: str | None, label: str) -> None:
    assert label_of(name) == label


@pytest.mark.parametrize("name", ["a\x00.txt", "\x00", "a\ud800b"])
def test_a_name_that_is_no_text_is_refused(name: str) -> None:
    with pytest.raises(InvalidFilename):
        label_of(name)


def test_a_long_name_keeps_its_ending() -> None:
    label = label_of("ä" * 400 + ".tar.gz")
    assert label.endswith("ä.gz") or label.endswith("ä.tar.gz")
    assert len(label.encode()) <= LABEL_BYTES_MAX


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_every_label_is_short_and_no_path(name: str) -> None:
    label = label_of(name)
    assert label
    assert label == label.strip()
    assert len(label.encode()) <= LABEL_BYTES_MAX
    assert not {"/", "\\"} & set(label)
    assert label not in (".", "..")
    assert not any(unicodedata.category(char) == "Cc" for char in label)
    assert label_of(label) == label
