"""JSON and JSON lines: every value on a line of its own with the path to it, `orders[0].price: 12`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from uploads.documents.document import Document, Section, assemble
from uploads.documents.errors import BrokenDocument, DocumentTooLarge
from uploads.documents.limits import DocumentLimits
from uploads.documents.source import read_text, too_long


def read(path: Path, limits: DocumentLimits) -> Document:
    text = read_text(path, limits)
    try:
        value = _load(text, limits)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise BrokenDocument(f"The file is not JSON, near line {error.lineno}.") from None
        return _document(_records(text, limits), limits)  # several values: JSON lines under another name
    return _document(value if isinstance(value, list) else [value], limits)


def read_lines(path: Path, limits: DocumentLimits) -> Document:
    return _document(_records(read_text(path, limits), limits), limits)


def _records(text: str, limits: DocumentLimits) -> Iterator[Any]:
    for number, line in enumerate(text.split("\n"), start=1):
        if number > limits.max_rows:
            raise DocumentTooLarge(f"The file has more than {limits.max_rows:,} rows.")
        if line.strip():
            try:
                yield _load(line, limits)
            except json.JSONDecodeError:
                raise BrokenDocument(f"Line {number} is not JSON.") from None


def _load(text: str, limits: DocumentLimits) -> Any:
    """Numbers stay as they are written: a number of a million digits is not computed."""
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except RecursionError:
        raise _too_deep(limits) from None


def _document(records: Iterator[Any] | list[Any], limits: DocumentLimits) -> Document:
    """An empty line between the records, so that a piece begins with one."""
    kept: list[str] = []
    left = limits.max_characters
    for record in records:
        for line in (*_lines(record, "", limits.max_depth, limits), ""):
            left -= len(line) + 1
            if left < 0:
                raise too_long(limits)
            kept.append(line)
    return assemble([Section("\n".join(kept))], limits.max_characters)


def _lines(value: Any, path: str, depth: int, limits: DocumentLimits) -> Iterator[str]:
    if depth < 0:
        raise _too_deep(limits)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(inner, f"{path}.{key}" if path else key, depth - 1, limits)
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for place, inner in enumerate(value):
            yield from _lines(inner, f"{path}[{place}]", depth - 1, limits)
            yield ""
    else:
        written = ", ".join(map(_scalar, value)) if isinstance(value, list) else _scalar(value)
        yield f"{path}: {written}" if path else written


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return " ".join(str(value).split())


def _too_deep(limits: DocumentLimits) -> DocumentTooLarge:
    return DocumentTooLarge(f"The values are nested deeper than {limits.max_depth}.")
