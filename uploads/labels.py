"""What a client calls its file. A name is a label for people: no path is ever made from it."""

import re
import unicodedata

from uploads.errors import InvalidFilename

LABEL_BYTES_MAX = 255  # what file systems take, so that a browser can save it under this name again
UNNAMED = "file"
_SEPARATORS = re.compile(r"[/\\]")
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control and format characters, among them those that turn text around
_JOINERS = "\u200c\u200d"  # format characters that Persian, Indic scripts and emoji need


def label_of(name: str | None) -> str:
    """The last part of what may be a path, on one line. Raises `InvalidFilename`."""
    if not name:
        return UNNAMED
    if "\x00" in name or any("\ud800" <= char <= "\udfff" for char in name):
        raise InvalidFilename("The file's name has characters that no name may have.")
    last = _SEPARATORS.split(name.rstrip("/\\ "))[-1]
    label = "".join(char for char in last if char in _JOINERS or unicodedata.category(char) not in _HIDDEN).strip()
    return shortened(label) if label.strip(".") else UNNAMED


def shortened(label: str) -> str:
    """At most so many bytes, with the ending kept: programs go by it."""
    if len(label.encode()) <= LABEL_BYTES_MAX:
        return label
    stem, dot, ending = label.rpartition(".")
    if not dot or len(ending.encode()) > 16:
        stem, dot, ending = label, "", ""
    room = LABEL_BYTES_MAX - len((dot + ending).encode())
    return stem.encode()[:room].decode(errors="ignore") + dot + ending
