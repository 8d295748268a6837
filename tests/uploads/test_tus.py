"""The headers of the tus protocol, right and wrong."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uploads import tus
from uploads.errors import TusContentType, TusRefused, TusVersion


def b64(words: str) -> str:
    return base64.b64encode(words.encode()).decode()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"upload-length": "0"}, tus.Creation(0, "")),
        ({"upload-length": "10", "upload-metadata": "a"}, tus.Creation(10, "a")),
        ({"upload-defer-length": "1"}, tus.Creation(None, "")),
    ],
)
def test_a_creation_is_read(headers: dict[str, str], expected: tus.Creation) -> None:
    assert tus.creation(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"upload-length": ""},
        {"upload-length": "-1"},
        {"upload-length": "1.5"},
        {"upload-length": "\u0661"},
        {"upload-length": "9" * 19},
        {"upload-length": "1", "upload-defer-length": "1"},
        {"upload-defer-length": "2"},
        {"upload-length": "1", "upload-concat": "partial"},
        {"upload-length": "1", "upload-metadata": "a b"},
        {"upload-length": "1", "upload-metadata": "a YQ==,a YQ=="},
        {"upload-length": "1", "upload-metadata": "\xe4 YQ=="},
        {"upload-length": "1", "upload-metadata": "a " + "A" * tus.MAX_METADATA_BYTES},
    ],
)
def test_a_creation_that_is_none_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(TusRefused):
        tus.creation(headers)


@given(st.dictionaries(st.from_regex(r"[a-zA-Z0-9_\-]{1,10}", fullmatch=True), st.text(max_size=50), max_size=5))
def test_metadata_comes_back_as_it_was(values: dict[str, str]) -> None:
    header = ",".join(f"{key} {b64(value)}" for key, value in values.items())
    assert tus.parse_metadata(header) == values


def test_the_name_is_what_known_clients_call_it() -> None:
    assert tus.filename(f"filetype {b64('x')}, filename {b64('Käse.txt')}") == "Käse.txt"
    assert tus.filename(f"name {b64('a.txt')},type {b64('text/plain')}") == "a.txt"
    assert tus.filename("is_confidential") is None
    assert tus.filename("") is None


def test_a_checksum_is_read() -> None:
    assert tus.checksum({}) is None
    digest = b64("abc" * 6 + "ab")
    assert tus.checksum({"upload-checksum": f"SHA1 {digest}"}) == tus.Checksum("sha1", b"abc" * 6 + b"ab")


@pytest.mark.parametrize("header", ["", "sha1", "crc32 YQ==", "sha1 ***", "YQ=="])
def test_a_checksum_that_cannot_be_checked_is_refused(header: str) -> None:
    with pytest.raises(TusRefused):
        tus.checksum({"upload-checksum": header})


def test_version_and_type_are_what_the_protocol_says() -> None:
    tus.refuse_other_version({"tus-resumable": "1.0.0"})
    for headers in ({}, {"tus-resumable": "0.2.2"}):
        with pytest.raises(TusVersion):
            tus.refuse_other_version(headers)
    tus.refuse_other_type({"content-type": "application/offset+octet-stream"})
    with pytest.raises(TusContentType):
        tus.refuse_other_type({"content-type": "application/octet-stream"})


def test_offsets_are_numbers() -> None:
    assert tus.offset({"upload-offset": "12"}) == 12
    for headers in ({}, {"upload-offset": "x"}):
        with pytest.raises(TusRefused):
            tus.offset(headers)
