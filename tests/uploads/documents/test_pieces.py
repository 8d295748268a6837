"""What holds for every document that is cut: ranges, size, nothing lost."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from uploads.documents.document import Document, Section, Span, assemble
from uploads.documents.pieces import CHARACTERS_A_WORD_PIECE, Piece, PieceSize, split

SIZE = PieceSize(most=20, overlap=5)
WORDS = st.lists(st.sampled_from(["valve", "pressure", "x" * 300, "a.", "Why?", "\n\n", "\n", "。", "7", "é", " "]))
TEXTS = WORDS.map(" ".join)
SECTIONS = st.lists(st.tuples(TEXTS, st.sampled_from([None, 1, 2, 3]), st.sampled_from(["", "One", "Two"])), max_size=8)


def measure(texts: Sequence[str]) -> list[int]:
    """As a word piece model does: words, and parts of long ones."""
    return [sum(1 + len(word) // 6 for word in text.split()) for text in texts]


def document_of(sections: list[tuple[str, int | None, str]]) -> Document:
    return assemble([Section(*section) for section in sections], max_characters=1_000_000)


def covered(pieces: list[Piece], length: int) -> list[bool]:
    marks = [False] * length
    for piece in pieces:
        marks[piece.start : piece.end] = [True] * (piece.end - piece.start)
    return marks


@given(SECTIONS)
@settings(max_examples=300, deadline=None)
@example([("x" * 5000, None, "")])
@example([("word " * 500, 1, "One"), ("", 2, ""), ("end", 2, "Two")])
def test_pieces_are_ranges_of_bounded_size_and_nothing_is_lost(sections: list[tuple[str, int | None, str]]) -> None:
    document = document_of(sections)
    pieces = split(document, measure, SIZE)
    marks = covered(pieces, len(document.text))
    assert all(mark or character.isspace() for mark, character in zip(marks, document.text, strict=True))
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    for piece in pieces:
        assert piece.text == document.text[piece.start : piece.end] != ""
        assert measure([piece.text])[0] <= SIZE.most or len(piece.text) == 1
        assert len(piece.text) <= SIZE.most * CHARACTERS_A_WORD_PIECE
    assert pieces == split(document, measure, SIZE)


@given(SECTIONS)
@settings(max_examples=100, deadline=None)
def test_no_piece_lies_on_two_pages(sections: list[tuple[str, int | None, str]]) -> None:
    document = document_of(sections)
    for piece in split(document, measure, SIZE):
        on = {span.page for span in document.spans if span.start < piece.end and piece.start < span.end}
        assert on == {piece.page}


@given(SECTIONS)
@settings(max_examples=100, deadline=None)
def test_every_piece_has_something_new(sections: list[tuple[str, int | None, str]]) -> None:
    pieces = split(document_of(sections), measure, SIZE)
    for before, piece in pairwise(pieces):
        assert before.start < piece.start <= piece.end
        assert before.end < piece.end


def test_a_heading_begins_a_piece_when_the_one_before_is_not_tiny() -> None:
    body = "One two three four five six seven.\n"
    document = document_of([(f"First\n{body}", None, "First"), (f"Second\n{body}", None, "Second")])
    assert [(piece.heading, piece.text.split("\n")[0]) for piece in split(document, measure, SIZE)] == [
        ("First", "First"),
        ("Second", "Second"),
    ]


def test_a_lonely_heading_stays_with_what_follows() -> None:
    document = document_of([("Title", None, "Title"), ("Part\nSome words here.", None, "Title > Part")])
    assert len(split(document, measure, SIZE)) == 1


def test_a_piece_repeats_the_end_of_the_one_before() -> None:
    text = "One two three four. " * 8
    document = Document(text.strip(), (Span(0, len(text.strip()), None, ""),))
    first, second, *_ = split(document, measure, SIZE)
    assert first.start < second.start < first.end
    assert second.text.startswith("One")


def test_a_sentence_that_a_file_wraps_stays_one_sentence() -> None:
    lines = "Seven words stand on this line and\ngo on here until there is room\n"
    document = document_of([(lines + "no more. The next one is a sentence of nine words.", 1, "")])
    assert [piece.text.replace("\n", " ")[-8:] for piece in split(document, measure, SIZE)] == ["no more.", "e words."]
