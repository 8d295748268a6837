"""HTML: what a reader of the page sees, with a line for each row of a table. No script runs, nothing is fetched."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from uploads.documents.document import Document, Section, assemble
from uploads.documents.encoding import decode
from uploads.documents.headings import Headings
from uploads.documents.limits import DocumentLimits
from uploads.documents.source import read_bytes

INVISIBLE = frozenset(
    ("script", "style", "noscript", "template", "svg", "iframe", "object", "head", "select", "button")
)
BLOCK = re.compile(
    "address|article|aside|blockquote|body|caption|dd|details|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|"
    "header|hr|html|legend|li|main|nav|ol|p|pre|section|summary|table|tbody|tfoot|thead|tr|ul"
)
PARAGRAPHS = frozenset(("article", "blockquote", "dl", "figure", "ol", "p", "pre", "section", "table", "ul"))
CELLS = frozenset(("td", "th"))
CELL_SEPARATOR = " | "
# Boundaries are marked while the page is walked and written afterwards: two that meet make one line end.
LINE, PARAGRAPH = "\x1e", "\x1d"
BOUNDARY = re.compile(r"[ \t\xa0]*[\x1d\x1e][\x1d\x1e \t\xa0]*")
HEADING = re.compile(r"h[1-6]")
TEXT = "-text"
DECLARED = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
DECLARED_WITHIN_BYTES = 4096


def read(path: Path, limits: DocumentLimits) -> Document:
    parser = LexborHTMLParser(_decode(read_bytes(path, limits)))
    return assemble(_sections(parser), limits.max_characters)


def _decode(content: bytes) -> str:
    """The declared encoding, if the bytes are indeed in it; a mark goes before it, as in a browser."""
    declared = DECLARED.search(content[:DECLARED_WITHIN_BYTES])
    if declared and not content.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode(declared[1].decode("ascii"))
        except (LookupError, UnicodeError):
            pass
    return decode(content)


def _sections(parser: LexborHTMLParser) -> Iterator[Section]:
    headings = Headings()
    title = parser.css_first("head > title")
    path = headings.enter(0, title.text() if title is not None else "")
    words: list[str] = []
    for node, entering in _walk(parser.root):
        tag = node.tag or ""
        if entering and HEADING.fullmatch(tag):
            yield Section(_tidy(words), heading=path)
            words.clear()
            path = headings.enter(int(tag[1]), node.text())
        words.append(_written(node, tag, entering=entering))
    yield Section(_tidy(words), heading=path)


def _written(node: LexborNode, tag: str, *, entering: bool) -> str:
    if tag == TEXT:
        text = node.text_content or "" if entering else ""
        return text if node.parent is not None and node.parent.tag == "pre" else re.sub(r"\s+", " ", text)
    if tag in CELLS:
        return "" if entering or node.next is None else CELL_SEPARATOR
    if tag in PARAGRAPHS or HEADING.fullmatch(tag):
        return PARAGRAPH
    if tag == "br":
        return "\n" if entering else ""
    return LINE if BLOCK.fullmatch(tag) else ""


def _tidy(words: list[str]) -> str:
    text = BOUNDARY.sub(lambda found: "\n\n" if PARAGRAPH in found[0] else "\n", "".join(words))
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _walk(root: LexborNode | None) -> Iterator[tuple[LexborNode, bool]]:
    """Every visible node as it is entered and as it is left. No recursion: pages may be nested ten thousand deep."""
    node, entering = root, True
    while node is not None:
        if entering and node.tag not in INVISIBLE:
            yield node, True
            if node.first_child is not None:
                node = node.first_child
                continue
        if node.tag not in INVISIBLE:
            yield node, False
        if node == root:
            return
        node, entering = (node.next, True) if node.next is not None else (node.parent, False)
