"""Markdown: kept as it was written, which people and models read well; only its headings are found."""

from itertools import accumulate, pairwise
from pathlib import Path

from markdown_it import MarkdownIt

from uploads.documents.document import Document, Span
from uploads.documents.headings import Headings
from uploads.documents.limits import DocumentLimits
from uploads.documents.source import read_text


def read(path: Path, limits: DocumentLimits) -> Document:
    text = read_text(path, limits)
    starts = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
    headings = Headings()
    marks = [(0, "")]
    for line, depth, title in _headings(text):
        marks.append((starts[line], headings.enter(depth, title)))
    ends = [start for start, _ in marks[1:]] + [len(text)]
    spans = [Span(start, end, None, path) for (start, path), end in zip(marks, ends, strict=True) if end > start]
    return Document(text, tuple(spans) or (Span(0, len(text), None, ""),))


def _headings(text: str) -> list[tuple[int, int, str]]:
    """Line, depth and title of those that stand in no list and no quotation."""
    parser = MarkdownIt("commonmark")
    parser.core.ruler.disable(["inline", "text_join"])  # only blocks matter
    tokens = parser.parse(text)
    return [
        (opening.map[0], int(opening.tag[1]), title.content)
        for opening, title in pairwise(tokens)
        if opening.type == "heading_open" and opening.level == 0 and opening.map is not None
    ]
