"""CSV: each row a line that says what its cells are, `City: Bern; Price: 12`, so that a row is understood alone."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from uploads.documents.document import Document, Section, assemble
from uploads.documents.errors import BrokenDocument, DocumentTooLarge
from uploads.documents.limits import DocumentLimits
from uploads.documents.source import read_text

DELIMITERS = ",;\t|"
SAMPLE_CHARACTERS = 16_384
BETWEEN_CELLS = "; "
BETWEEN_UNNAMED_CELLS = " | "


def read(path: Path, limits: DocumentLimits) -> Document:
    text = read_text(path, limits)
    rows = _rows(text, limits)
    first = next(rows, [])
    lines = _named_lines(first, rows) if _is_header(first) else _unnamed_lines(first, rows)
    return assemble([Section(_joined(lines, limits))], limits.max_characters)


def _rows(text: str, limits: DocumentLimits) -> Iterator[list[str]]:
    """Those that are not empty. Raises `BrokenDocument` and `DocumentTooLarge`."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    try:
        for number, row in enumerate(reader, start=1):
            if number > limits.max_rows:
                raise DocumentTooLarge(f"The file has more than {limits.max_rows:,} rows.")
            cells = [" ".join(cell.split()) for cell in row]
            if any(cells):
                yield cells
    except csv.Error:
        raise BrokenDocument(f"The file cannot be read as CSV, near line {reader.line_num}.") from None


def _delimiter(text: str) -> str:
    """The one that cuts the first lines into the same number of cells."""
    try:
        return csv.Sniffer().sniff(text[:SAMPLE_CHARACTERS], DELIMITERS).delimiter
    except csv.Error:
        first = text.partition("\n")[0]
        return max(DELIMITERS, key=first.count)


def _is_header(cells: list[str]) -> bool:
    """Every cell is a name of its own, and none is a number."""
    names = [cell for cell in cells if cell]
    return len(names) == len(cells) > 0 and len(set(names)) == len(names) and not any(map(_is_number, names))


def _is_number(cell: str) -> bool:
    digits = sum(character.isdigit() for character in cell)
    return digits > 0 and digits >= sum(character.isalpha() for character in cell)


def _named_lines(header: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    """A file with nothing but its header is that one line."""
    empty = True
    for cells in rows:
        empty = False
        named = [f"{name}: {cell}" for name, cell in zip(header, cells, strict=False) if cell]
        yield BETWEEN_CELLS.join([*named, *filter(None, cells[len(header) :])])
    if empty:
        yield BETWEEN_UNNAMED_CELLS.join(header)


def _unnamed_lines(first: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    for cells in (first, *rows):
        yield BETWEEN_UNNAMED_CELLS.join(cells)


def _joined(lines: Iterator[str], limits: DocumentLimits) -> str:
    """Names are written again in every row, so the text may be much longer than the file."""
    kept: list[str] = []
    left = limits.max_characters
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            raise DocumentTooLarge(f"The rows make more than {limits.max_characters:,} characters of text.")
        kept.append(line)
    return "\n".join(kept)
