"""A source as written, `scheme:what`, taken apart and checked. Imports nothing heavy: it runs at every start."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from service.models.errors import InvalidModels, UnknownSource

Scheme: TypeAlias = Literal["file", "hf", "npm", "pypi", "s3"]

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
COMMIT = re.compile(r"[0-9a-f]{40}")
# A name starts with a letter, a digit or npm's scope: none can be taken for an option or a path.
PATTERNS: dict[Scheme, tuple[re.Pattern[str], str]] = {
    "hf": (
        re.compile(r"(?P<name>[\w][\w.-]*(/[\w][\w.-]*)?)(@(?P<version>[\w][\w./-]*))?"),
        "hf:owner/name[@revision]",
    ),
    "pypi": (
        re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][\w.!+-]*)"),
        "pypi:name==1.2.3",
    ),
    "s3": (
        re.compile(r"(?P<name>[a-z0-9][a-z0-9.-]{1,62}/[^@\0]+)(@(?P<version>[\w.+=-]+))?"),
        "s3:bucket/key[@version] or s3:bucket/folder/",
    ),
    "npm": (re.compile(r"(?P<name>(@[\w][\w.~-]*/)?[\w][\w.~-]*)@(?P<version>\d[\w.+-]*)"), "npm:name@1.2.3"),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """`version` is None only for `file:`, and for `hf:` and `s3:` at whatever is newest."""

    scheme: Scheme
    name: str
    version: str | None = None

    @property
    def path(self) -> Path:
        return Path(self.name)

    @property
    def is_fixed(self) -> bool:
        """True when the same text names the same bytes for ever: released packages, commits, versions of objects."""
        if self.scheme == "hf":
            return self.version is not None and COMMIT.fullmatch(self.version) is not None
        return self.scheme in ("npm", "pypi") or (self.scheme == "s3" and self.version is not None)

    def __str__(self) -> str:
        separator = "==" if self.scheme == "pypi" else "@"
        return f"{self.scheme}:{self.name}" + (f"{separator}{self.version}" if self.version else "")


def parse_reference(text: str, folder: Path) -> Reference:
    """`folder` is what a relative `file:` starts from. Raises `UnknownSource` or `InvalidModels`."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise UnknownSource(f"unknown source {text!r}: a source starts with " + ", ".join(f"{s}:" for s in SCHEMES))
    if scheme == "file":
        if not rest or "\0" in rest:
            raise InvalidModels(f"source {text!r} names no path: write file:path/to/model")
        return Reference("file", str((folder / Path(rest).expanduser()).absolute()))
    known = cast(Scheme, scheme)
    pattern, example = PATTERNS[known]
    if not (match := pattern.fullmatch(rest)):
        raise InvalidModels(f"source {text!r} is not of the form {example}")
    return Reference(known, match["name"], match["version"])
