"""A document as JSON, which is what leaves the process that parses a stranger's file."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from uploads.documents.document import Document, Span
from uploads.documents.limits import DocumentLimits
from uploads.documents.parse import parse

PARSE = f"{__name__}:parse_plain"
RECOGNISE = f"{__name__}:recognise_plain"
WARM_UP = f"{__name__}:warm_up"


def parse_plain(path: str, media_type: str, filename: str, limits: dict[str, int]) -> dict[str, Any]:
    """Named by `PARSE` and run in the sandbox. Raises `DocumentError`."""
    document = parse(path, media_type, filename, DocumentLimits(**limits))
    spans = [[span.start, span.end, span.page, span.heading] for span in document.spans]
    return {"text": document.text, "spans": spans, "pages": document.pages}


def recognise_plain(path: str, limits: dict[str, int]) -> tuple[str, list[tuple[str, float]]]:
    """Named by `RECOGNISE`: the text of a picture, and its parts with how sure each is. Raises `DocumentError`."""
    from uploads.documents.picture import read_words, text_of  # noqa: PLC0415  brings a model

    words = read_words(Path(path), DocumentLimits(**limits))
    return text_of(words), [(one.text, one.confidence) for one in words]


def warm_up() -> None:
    """Named by `WARM_UP`: what recognition loads, loaded before there is a picture."""
    from uploads.documents import picture  # noqa: PLC0415  brings a model

    picture.warm_up()


def plain_limits(limits: DocumentLimits) -> dict[str, int]:
    return asdict(limits)


def document_of(plain: dict[str, Any]) -> Document:
    return Document(plain["text"], tuple(Span(*span) for span in plain["spans"]), plain["pages"])
