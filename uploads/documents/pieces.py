"""Cuts a document into pieces that an embedding model reads whole. Pure: the same document gives the same pieces.

Text is first cut into atoms, sentences and lines; these are packed one after the other. A new piece begins where the
next atom would not fit, on a new page, and, when there is enough in it already, at a heading or a paragraph.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import ceil
from typing import TypeAlias

from uploads.documents.document import Document, Span

Measure: TypeAlias = Callable[[Sequence[str]], Sequence[int]]
# A line that goes on with a small letter is the rest of a sentence, wrapped by whoever wrote the file.
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]\u201d\u2019]*\s+|(?<=[\u3002\uff01\uff1f])|\n\s*\n\s*|\n\s*(?=[^a-z\s])")
CHARACTERS_A_WORD_PIECE = 8  # long words count as one word piece, or as none that is known: characters bound them too


class Break(IntEnum):
    """What an atom begins."""

    SENTENCE = 0
    PARAGRAPH = 1
    HEADING = 2
    PAGE = 3


# How full a piece must be for the next one to begin there.
FULL_ENOUGH = {Break.SENTENCE: 1.0, Break.PARAGRAPH: 0.7, Break.HEADING: 0.25, Break.PAGE: 0.0}


@dataclass(frozen=True, slots=True)
class PieceSize:
    """In word pieces of the embedding model; the overlap is what a piece repeats of the one before it."""

    most: int = 200
    overlap: int = 40


@dataclass(frozen=True, slots=True)
class Piece:
    """`text` is the document's from `start` to `end`."""

    number: int
    start: int
    end: int
    page: int | None
    heading: str
    text: str


@dataclass(frozen=True, slots=True)
class Atom:
    start: int
    end: int
    weight: int
    begins: Break
    span: Span


def split(document: Document, measure: Measure, size: PieceSize) -> list[Piece]:
    """`measure` says how many word pieces each of some texts is."""
    groups = _groups(_atoms(document, measure, size), size)
    return [_piece(document.text, number, *group) for number, group in enumerate(groups)]


def _piece(text: str, number: int, atoms: Sequence[Atom], repeated: int) -> Piece:
    """White space at the ends belongs to no piece. The heading is that of the text which is new in it."""
    start, end = _trimmed(text, atoms[0].start, atoms[-1].end)
    span = atoms[repeated].span
    return Piece(number, start, end, span.page, span.heading, text[start:end])


def _groups(atoms: Sequence[Atom], size: PieceSize) -> Iterator[tuple[list[Atom], int]]:
    """Each with how many of its atoms are repeated."""
    group: list[Atom] = []
    repeated = weight = new = 0  # weights: of the group, and of what is not repeated in it
    for atom in atoms:
        if new and (weight + atom.weight > size.most or new >= FULL_ENOUGH[atom.begins] * size.most):
            yield group, repeated
            group = _repeated(group, atom, size)
            repeated, weight, new = len(group), sum(one.weight for one in group), 0
        group.append(atom)
        weight, new = weight + atom.weight, new + atom.weight
    if group:
        yield group, repeated


def _repeated(group: Sequence[Atom], following: Atom, size: PieceSize) -> list[Atom]:
    """The last atoms of a piece, as context for the next one; not over a heading or a page."""
    left = min(size.overlap, size.most - following.weight)
    repeated: list[Atom] = []
    if following.begins >= Break.HEADING:
        return repeated
    for atom in reversed(group[1:]):
        left -= atom.weight
        if left < 0:
            break
        repeated.insert(0, atom)
        if atom.begins >= Break.HEADING:
            break
    return repeated


def _atoms(document: Document, measure: Measure, size: PieceSize) -> list[Atom]:
    text = document.text
    ranges = [(span, *place) for span in document.spans for place in _sentences(text, span, size)]
    weights = _weights(text, [(start, end) for _, start, end in ranges], measure)
    atoms: list[Atom] = []
    for (span, start, end), weight in zip(ranges, weights, strict=True):
        begins = _begins(text, start, span, atoms[-1].span if atoms else None)
        parts = [(start, end, weight)] if weight <= size.most else _parts(text, start, end, measure, size)
        for part, (part_start, part_end, part_weight) in enumerate(parts):
            atoms.append(Atom(part_start, part_end, part_weight, Break.SENTENCE if part else begins, span))
    return atoms


def _sentences(text: str, span: Span, size: PieceSize) -> Iterator[tuple[int, int]]:
    """What is longer than any piece may be is cut here already, so that nobody measures a line of a million words."""
    most = size.most * CHARACTERS_A_WORD_PIECE
    start = span.start
    for end in (*(found.end() for found in SENTENCE_END.finditer(text, span.start, span.end)), span.end):
        while end - start > most:
            cut = _cut(text, start, start + most)
            yield start, cut
            start = cut
        if text[start:end].strip():
            yield start, end
            start = end


def _begins(text: str, start: int, span: Span, before: Span | None) -> Break:
    if before is not None and span is not before:
        return Break.PAGE if span.page != before.page else Break.HEADING
    gap = text[max(0, start - 4) : start]
    return Break.PARAGRAPH if gap.count("\n") > 1 else Break.SENTENCE


def _parts(text: str, start: int, end: int, measure: Measure, size: PieceSize) -> list[tuple[int, int, int]]:
    """A sentence too long for a piece, halved at white space until every part fits."""
    waiting = [(start, end)]
    done: list[tuple[int, int, int]] = []
    while waiting:
        halves = [half for one in waiting for half in _halves(text, *one)]
        weighed = list(zip(halves, _weights(text, halves, measure), strict=True))
        done += [(*half, weight) for half, weight in weighed if weight <= size.most or half[1] - half[0] == 1]
        waiting = [half for half, weight in weighed if weight > size.most and half[1] - half[0] > 1]
    return sorted(done)


def _halves(text: str, start: int, end: int) -> list[tuple[int, int]]:
    cut = _cut(text, start, (start + end) // 2)
    return [(start, cut), (cut, end)]


def _cut(text: str, start: int, latest: int) -> int:
    """Behind the last line end, else the last space before `latest`, if that leaves half of the text."""
    for gap in ("\n", " "):
        place = text.rfind(gap, (start + latest) // 2, latest)
        if place > start:
            return place + 1
    return latest


def _weights(text: str, ranges: Sequence[tuple[int, int]], measure: Measure) -> list[int]:
    counts = measure([text[start:end] for start, end in ranges])
    return [
        max(1, count, ceil((end - start) / CHARACTERS_A_WORD_PIECE))
        for (start, end), count in zip(ranges, counts, strict=True)
    ]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
