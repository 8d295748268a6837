"""PDF: the text of each page; a page that is only a picture is read by text recognition."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw

from uploads.documents.document import Document, Section, assemble
from uploads.documents.errors import BrokenDocument, DocumentTooLarge, EncryptedDocument
from uploads.documents.headings import Headings
from uploads.documents.limits import DocumentLimits

HYPHEN_AT_LINE_END = "\ufffe\n"  # how pdfium writes it
OUTLINE_DEPTH_MAX = 6
RECOGNISED_SIDE_PIXELS = 2000
PIXELS_A_POINT = 200 / 72  # scans are read best at about 200 dots an inch


def read(path: Path, limits: DocumentLimits) -> Document:
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise EncryptedDocument("The PDF is protected by a password.") from None
        raise BrokenDocument("The PDF is damaged.") from None
    try:
        if len(document) > limits.max_pages:
            raise DocumentTooLarge(f"The PDF has {len(document):,} pages; {limits.max_pages:,} are taken.")
        return assemble(_sections(document, limits), limits.max_characters, pages=len(document))
    except pdfium.PdfiumError:
        raise BrokenDocument("The PDF is damaged.") from None
    finally:
        document.close()


def _sections(document: pdfium.PdfDocument, limits: DocumentLimits) -> Iterator[Section]:
    outline = _outline(document)
    heading, recognised = "", 0
    for number in range(len(document)):
        heading = outline.get(number, heading)
        page = document[number]
        text = _text(page)
        if not text.strip() and _has_picture(page):
            recognised += 1
            if recognised > limits.max_recognised_pages:
                raise DocumentTooLarge(
                    f"More than {limits.max_recognised_pages} pages of the PDF are pictures without text."
                )
            text = _recognise(page)
        page.close()
        yield Section(text, number + 1, heading)


def _text(page: pdfium.PdfPage) -> str:
    textpage = page.get_textpage()
    try:
        text: str = textpage.get_text_range()
    finally:
        textpage.close()
    return text.replace("\r\n", "\n").replace(HYPHEN_AT_LINE_END, "")


def _outline(document: pdfium.PdfDocument) -> Mapping[int, str]:
    """Page index -> the headings that the first entry of the outline on that page stands under."""
    headings = Headings()
    found: dict[int, str] = {}
    for entry in document.get_toc(max_depth=OUTLINE_DEPTH_MAX):
        destination = entry.get_dest()
        path = headings.enter(entry.level, entry.get_title())
        if destination is not None and (page := destination.get_index()) is not None:
            found.setdefault(page, path)
    return found


def _has_picture(page: pdfium.PdfPage) -> bool:
    return next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None


def _recognise(page: pdfium.PdfPage) -> str:
    from uploads.documents.picture import recognise, text_of  # noqa: PLC0415  loads a model: only for pages that need it

    scale = min(PIXELS_A_POINT, RECOGNISED_SIDE_PIXELS / max(*page.get_size(), 1))
    bitmap = page.render(scale=scale)
    try:
        return text_of(recognise(bitmap.to_pil()))
    finally:
        bitmap.close()
