"""A document: one stable text, and which page and heading each part of it stands under. Plain data, picklable."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from uploads.documents.errors import DocumentTooLarge

BETWEEN_SECTIONS = "\n\n"
UNWANTED = {code: None for code in (*range(0x00, 0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F, 0xFEFF, 0xFFFE, 0xFFFF)}


@dataclass(frozen=True, slots=True)
class Section:
    """What a parser finds: a run of text under one heading, on one page."""

    text: str
    page: int | None = None
    heading: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a section lies in the document's text."""

    start: int
    end: int
    page: int | None
    heading: str


@dataclass(frozen=True, slots=True)
class Document:
    """`spans` are in order and do not overlap; between them stands only white space."""

    text: str
    spans: tuple[Span, ...]
    pages: int | None = None

    def span_at(self, position: int) -> Span:
        return self.spans[max(0, bisect_right(self.spans, position, key=lambda span: span.start) - 1)]


def clean(text: str) -> str:
    """One kind of line end; no control characters and no lone surrogates, which no UTF-8 can carry."""
    plain = text.replace("\r\n", "\n").replace("\r", "\n").translate(UNWANTED)
    return plain if plain.isascii() else plain.encode("utf-8", "replace").decode("utf-8")


def assemble(sections: Iterable[Section], max_characters: int, pages: int | None = None) -> Document:
    """Joins sections to one text. Reads no further than the bound. Raises `DocumentTooLarge`."""
    parts: list[str] = []
    spans: list[Span] = []
    position = 0
    for section in sections:
        text = clean(section.text).rstrip()
        if not text.strip():
            continue
        if parts:
            parts.append(BETWEEN_SECTIONS)
            position += len(BETWEEN_SECTIONS)
        spans.append(Span(position, position + len(text), section.page, clean(section.heading)))
        parts.append(text)
        position += len(text)
        if position > max_characters:
            raise DocumentTooLarge(f"The file holds more than {max_characters:,} characters of text.")
    return Document("".join(parts), tuple(spans), pages)
