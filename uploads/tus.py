"""The words and sums of the tus 1.0 protocol: headers in, plain values out. It knows neither files nor a framework.

Every function takes the headers by lower-case name and raises `TusRefused` for what the protocol does not allow.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from uploads.errors import TusContentType, TusRefused, TusVersion

VERSION = "1.0.0"
EXTENSIONS = ("creation", "creation-with-upload", "creation-defer-length", "termination", "checksum", "expiration")
ALGORITHMS = ("sha1", "sha256", "md5")
CHUNK_TYPE = "application/offset+octet-stream"
MAX_METADATA_BYTES = 4096
NAMES = ("filename", "name")  # tus-js-client and Uppy; the protocol itself fixes no name
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_KEY = re.compile(r"[!-+\--~]+", re.ASCII)  # visible, without the comma that parts pairs


@dataclass(frozen=True, slots=True)
class Checksum:
    algorithm: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class Creation:
    """`length` is None when it follows with a later request."""

    length: int | None
    metadata: str


def refuse_other_version(headers: Mapping[str, str]) -> None:
    if headers.get("tus-resumable") != VERSION:
        raise TusVersion(f"Say `Tus-Resumable: {VERSION}`.")


def is_chunk(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").strip().lower() == CHUNK_TYPE


def refuse_other_type(headers: Mapping[str, str]) -> None:
    if not is_chunk(headers):
        raise TusContentType(f"Bytes come with `Content-Type: {CHUNK_TYPE}`.")


def creation(headers: Mapping[str, str]) -> Creation:
    if "upload-concat" in headers:
        raise TusRefused("Uploads are not joined here: leave `Upload-Concat` out.")
    length = number(headers, "upload-length")
    deferred = headers.get("upload-defer-length")
    if deferred not in (None, "1"):
        raise TusRefused("`Upload-Defer-Length` is 1 or not there.")
    if (length is None) == (deferred is None):
        raise TusRefused("Give either `Upload-Length` or `Upload-Defer-Length: 1`.")
    metadata = headers.get("upload-metadata", "")
    parse_metadata(metadata)
    return Creation(length, metadata)


def offset(headers: Mapping[str, str]) -> int:
    found = number(headers, "upload-offset")
    if found is None:
        raise TusRefused("`Upload-Offset` is missing.")
    return found


def number(headers: Mapping[str, str], name: str) -> int | None:
    word = headers.get(name)
    if word is None:
        return None
    if not _NUMBER.fullmatch(word):
        raise TusRefused(f"`{name.title()}` is not a number of bytes.")
    return int(word)


def parse_metadata(header: str) -> dict[str, str]:
    """Values that are not UTF-8 are left out: nothing here needs them, and they go back to the client as they came."""
    if len(header) > MAX_METADATA_BYTES:
        raise TusRefused(f"`Upload-Metadata` has at most {MAX_METADATA_BYTES} bytes.")
    found: dict[str, str] = {}
    for pair in filter(None, map(str.strip, header.split(","))):
        key, _, value = pair.partition(" ")
        if not _KEY.fullmatch(key) or key in found:
            raise TusRefused("A key of `Upload-Metadata` is not ASCII, or stands there twice.")
        found[key] = decoded(value.strip()).decode(errors="replace")
    return found


def filename(metadata: str) -> str | None:
    values = parse_metadata(metadata)
    return next((values[name] for name in NAMES if values.get(name)), None)


def checksum(headers: Mapping[str, str]) -> Checksum | None:
    header = headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, digest = header.strip().partition(" ")
    if algorithm.lower() not in ALGORITHMS:
        raise TusRefused(f"`Upload-Checksum` is one of {', '.join(ALGORITHMS)}.")
    found = Checksum(algorithm.lower(), decoded(digest.strip()))
    if len(found.digest) != new_digest(found.algorithm).digest_size:
        raise TusRefused(f"The value of `Upload-Checksum` is no {found.algorithm}.")
    return found


def new_digest(algorithm: str) -> "hashlib._Hash":
    return hashlib.new(algorithm, usedforsecurity=False)


def decoded(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError) as error:
        raise TusRefused("A value is not base64.") from error


def http_date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)
