"""Word documents: paragraphs and tables in their order, under their headings. Macros and embedded files stay shut."""

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import docx
from docx.document import Document as WordDocument
from docx.opc.exceptions import OpcError
from docx.table import Table, _Cell
from docx.text.paragraph import Paragraph
from lxml.etree import LxmlError

from uploads.documents.document import Document, Section, assemble
from uploads.documents.errors import BrokenDocument, DocumentTooLarge, EncryptedDocument
from uploads.documents.headings import Headings
from uploads.documents.limits import DocumentLimits

MEMBERS_MAX = 10_000
BLOCK_BYTES = 1 << 20
ENCRYPTED = 1  # a flag of zip members
# What zipfile, lxml and python-docx raise on files that are not what they should be.
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    LxmlError,
    OpcError,
    NotImplementedError,
    LookupError,
    ValueError,
    AttributeError,
    TypeError,
    EOFError,
)
TABLES_WITHIN_TABLES_MAX = 8
CELL_SEPARATOR = " | "
HEADING_STYLE = re.compile(r"Heading (\d)")
TITLE_STYLE = "Title"


def read(path: Path, limits: DocumentLimits) -> Document:
    try:
        _check_members(path, limits)
        return assemble(_sections(docx.Document(str(path)), limits), limits.max_characters)
    except BROKEN as error:
        raise BrokenDocument("The Word document is damaged.") from error


def _check_members(path: Path, limits: DocumentLimits) -> None:
    """Unpacks everything once, in small blocks. python-docx unpacks whole members, and one that lies about its size
    would become a gigabyte before anybody notices; one that does not match its checksum ends here as well.
    """
    left = limits.max_unpacked_bytes
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MEMBERS_MAX or sum(member.file_size for member in members) > left:
            raise _too_large(limits)
        for member in members:
            if member.flag_bits & ENCRYPTED:
                raise EncryptedDocument("The Word document is protected by a password.")
            with archive.open(member) as file:
                while block := file.read(BLOCK_BYTES):
                    left -= len(block)
    if left < 0:
        raise _too_large(limits)


def _too_large(limits: DocumentLimits) -> DocumentTooLarge:
    return DocumentTooLarge(f"The Word document unpacks to more than {limits.max_unpacked_bytes:,} bytes.")


def _sections(document: WordDocument, limits: DocumentLimits) -> Iterator[Section]:
    headings = Headings()
    path, lines = "", list[str]()
    for number, block in enumerate(document.iter_inner_content()):
        if number > limits.max_rows:
            raise DocumentTooLarge(f"The Word document has more than {limits.max_rows:,} paragraphs.")
        if isinstance(block, Table):
            lines.append("\n".join(_rows(block, limits.max_rows, TABLES_WITHIN_TABLES_MAX)))
            continue
        if (depth := _depth(block)) is not None and block.text.strip():
            yield Section("\n\n".join(lines), heading=path)
            lines.clear()
            path = headings.enter(depth, block.text)
        lines.append(block.text)
    yield Section("\n\n".join(lines), heading=path)


def _depth(paragraph: Paragraph) -> int | None:
    name = (paragraph.style.name if paragraph.style is not None else None) or ""
    found = HEADING_STYLE.match(name)
    return int(found[1]) if found else 0 if name == TITLE_STYLE else None


def _rows(table: Table, rows_max: int, depth: int) -> Iterator[str]:
    if depth == 0:
        raise DocumentTooLarge(f"Tables of the Word document are nested deeper than {TABLES_WITHIN_TABLES_MAX}.")
    for number, row in enumerate(table.rows):
        if number >= rows_max:
            raise DocumentTooLarge(f"A table of the Word document has more than {rows_max:,} rows.")
        cells: list[_Cell] = []
        for cell in row.cells:  # a merged cell comes once for each column that it covers
            if not cells or cells[-1]._tc is not cell._tc:
                cells.append(cell)
        yield CELL_SEPARATOR.join(" ".join(_words(cell, rows_max, depth)) for cell in cells)


def _words(cell: _Cell, rows_max: int, depth: int) -> Iterator[str]:
    for block in cell.iter_inner_content():
        lines = _rows(block, rows_max, depth - 1) if isinstance(block, Table) else [block.text]
        yield from (" ".join(line.split()) for line in lines)
