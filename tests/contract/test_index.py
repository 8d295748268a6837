"""What every search index keeps: see `uploads.index.Index`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from uploads.documents.document import Document, Section, assemble
from uploads.documents.pieces import PieceSize, split
from uploads.index import Embedded, Index, IndexedDocument, Question, Vector
from uploads.stores.index import SqliteIndex

DIMENSIONS = 8
WORDS = ("pump", "valve", "seal", "price", "holiday", "rent", "crane", "parcel")
SMALL = PieceSize(most=12, overlap=0)


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    opened = SqliteIndex(tmp_path / "index")
    yield opened
    await opened.close()


def vector_of(text: str) -> Vector:
    """As if an embedding model knew eight words."""
    vector = np.array([text.lower().count(word) for word in WORDS], np.float32) + 0.01
    return np.asarray(vector / np.linalg.norm(vector), np.float32)


def entry(upload_id: str, *paragraphs: str, filename: str = "file.txt", page: int | None = 1) -> IndexedDocument:
    document: Document = assemble([Section("\n\n".join(paragraphs), page, "Heading")], 1_000_000, pages=1)
    return IndexedDocument(
        upload_id, filename, document, split(document, lambda texts: [len(text.split()) for text in texts], SMALL)
    )


async def put(index: Index, owner: str, document: IndexedDocument, version: str = "v1") -> None:
    rows = [vector_of(piece.text) for piece in document.pieces]
    vectors = np.stack(rows) if rows else np.zeros((0, 0), np.float32)
    await index.put(owner, document, Embedded(vectors, version))


def question(text: str, limit: int = 10, upload_ids: list[str] | None = None, version: str = "v1") -> Question:
    return Question(text, vector_of(text), version, limit, upload_ids)


async def found(index: Index, owner: str, text: str, **more: object) -> list[tuple[str, str]]:
    hits = await index.search(owner, question(text, **more))  # type: ignore[arg-type]  # by name only
    return [(hit.upload_id, hit.piece.text) for hit in hits]


def folders_with_files(folder: Path) -> set[Path]:
    return {path.parent for path in folder.rglob("*") if path.is_file()}


PUMP = "The pump of iron stands in the hall and runs all day."
RENT = "The rent of the office in Vienna is paid on the fifth."
HOLIDAY = "Every holiday is asked for six weeks before it is taken."


async def test_what_was_put_comes_back(index: Index) -> None:
    document = entry("u1", PUMP, RENT, HOLIDAY, filename="notes.txt")
    assert await index.find("ann", "u1") is None
    await put(index, "ann", document)
    assert await index.find("ann", "u1") == document
    assert await index.has("ann", "u1", "v1")
    assert not await index.has("ann", "u1", "v2")


async def test_the_best_piece_comes_first_with_its_place(index: Index) -> None:
    await put(index, "ann", entry("u1", PUMP, RENT, HOLIDAY))
    await put(index, "ann", entry("u2", HOLIDAY))
    hits = await index.search("ann", question("Who pays the rent in Vienna?"))
    best = hits[0]
    assert (best.upload_id, best.filename, best.piece.text, best.piece.page) == ("u1", "file.txt", RENT, 1)
    assert best.piece.heading == "Heading"
    document = await index.find("ann", "u1")
    assert document is not None
    assert document.document.text[best.piece.start : best.piece.end] == RENT
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


async def test_a_limit_is_kept(index: Index) -> None:
    await put(index, "ann", entry("u1", *[PUMP] * 30))
    assert len(await found(index, "ann", "pump", limit=3)) == 3


async def test_an_owner_finds_only_what_is_its_own(index: Index) -> None:
    await put(index, "ann", entry("u1", PUMP))
    await put(index, "bob", entry("u2", RENT))
    assert await found(index, "ann", "rent") == [("u1", PUMP)]
    assert await found(index, "ann", "rent", upload_ids=["u2"]) == []
    assert await index.find("ann", "u2") is None
    assert not await index.has("ann", "u2", "v1")
    await index.remove("ann", "u2")
    assert await found(index, "bob", "rent") == [("u2", RENT)]
    assert await found(index, "eve", "rent") == []


async def test_what_others_have_changes_not_even_a_score(index: Index) -> None:
    await put(index, "ann", entry("u1", PUMP, RENT, HOLIDAY))
    before = await index.search("ann", question("rent of the pump"))
    for number in range(20):
        await put(index, "bob", entry(f"b{number}", RENT))
    assert await index.search("ann", question("rent of the pump")) == before


@pytest.mark.parametrize("owner", ["../../etc/passwd", "a/b", "", "\0", "ü" * 300, "\ud800"])
async def test_an_owner_may_have_any_name(index: Index, owner: str, tmp_path: Path) -> None:
    await put(index, owner, entry("u1", PUMP))
    assert await found(index, owner, "pump") == [("u1", PUMP)]
    assert folders_with_files(tmp_path) == {tmp_path / "index"}


async def test_documents_can_be_chosen(index: Index) -> None:
    for number in range(5):
        await put(index, "ann", entry(f"u{number}", PUMP))
    assert await found(index, "ann", "pump", upload_ids=["u3", "u1", "none"]) == [("u1", PUMP), ("u3", PUMP)]
    assert await found(index, "ann", "pump", upload_ids=[]) == []


async def test_a_document_is_replaced_as_a_whole(index: Index) -> None:
    await put(index, "ann", entry("u1", PUMP, RENT))
    await put(index, "ann", entry("u1", HOLIDAY))
    assert await found(index, "ann", "pump rent holiday") == [("u1", HOLIDAY)]


async def test_what_is_removed_is_gone(index: Index) -> None:
    await put(index, "ann", entry("u1", PUMP))
    await put(index, "ann", entry("u2", RENT))
    await index.remove("ann", "u1")
    await index.remove("ann", "u1")
    assert await found(index, "ann", "pump") == [("u2", RENT)]
    assert await index.find("ann", "u1") is None


async def test_a_document_without_text_is_kept_and_never_found(index: Index) -> None:
    await put(index, "ann", entry("u1"))
    assert await index.find("ann", "u1") is not None
    assert await found(index, "ann", "pump") == []
    assert await found(index, "ann", "pump", upload_ids=["u1"]) == []


@pytest.mark.parametrize(
    "text", ['"', "pump AND", "NOT rent", "text:pump", "pump*", "(", "'; DROP TABLE pieces", "-", "🙂", "a" * 5000]
)
async def test_a_question_is_words_and_never_an_expression(index: Index, text: str) -> None:
    await put(index, "ann", entry("u1", PUMP))
    assert await found(index, "ann", text) == [("u1", PUMP)]  # by its vector at least


async def test_words_are_found_in_other_forms_and_in_names(index: Index) -> None:
    await put(index, "ann", entry("u1", PUMP, filename="x.txt"))
    await put(index, "ann", entry("u2", "Nothing to see here at all.", filename="Lease_Praterstrasse-88.pdf"))
    assert (await found(index, "ann", "pumps running"))[0] == ("u1", PUMP)
    assert (await found(index, "ann", "praterstrasse"))[0][0] == "u2"


async def test_vectors_of_another_version_are_not_compared(index: Index) -> None:
    await put(index, "ann", entry("old", RENT), version="v0")
    await put(index, "ann", entry("new", PUMP), version="v1")
    assert set(await found(index, "ann", "rent")) == {("old", RENT), ("new", PUMP)}  # the first by its words
    assert await found(index, "ann", "parcel") == [("new", PUMP)]


async def test_another_process_sees_a_change_at_once(index: Index, tmp_path: Path) -> None:
    other = SqliteIndex(tmp_path / "index")
    try:
        await put(index, "ann", entry("u1", PUMP))
        assert await found(other, "ann", "pump") == [("u1", PUMP)]
        await put(index, "ann", entry("u2", RENT))
        assert await found(other, "ann", "rent", limit=1) == [("u2", RENT)]
        await index.remove("ann", "u2")
        assert await found(other, "ann", "rent") == [("u1", PUMP)]
    finally:
        await other.close()


async def test_readers_see_all_of_the_old_or_all_of_the_new_while_others_write(index: Index, tmp_path: Path) -> None:
    """Two writers and a reader; every document has the same two words in all of its pieces."""
    other = SqliteIndex(tmp_path / "index")
    texts = [[f"pump number {mark} in the hall {n}." for n in range(6)] for mark in ("one", "two")]

    async def write(writer: Index, document: int) -> None:
        for turn in range(15):
            await put(writer, "ann", entry(f"u{document}", *texts[(turn + document) % 2]))

    async def read() -> None:
        while not all(task.done() for task in writers):
            hits = await found(index, "ann", "pump", limit=50)
            for document in ("u0", "u1"):
                marks = {text.split()[2] for upload_id, text in hits if upload_id == document}
                assert len(marks) <= 1

    try:
        writers = [asyncio.create_task(write(writer, number)) for number, writer in enumerate((index, other))]
        await asyncio.gather(read(), *writers)
    finally:
        await other.close()
    assert {upload_id for upload_id, _ in await found(index, "ann", "pump", limit=50)} == {"u0", "u1"}


async def test_a_write_that_dies_leaves_the_index_as_it_was(index: Index, tmp_path: Path) -> None:
    await put(index, "ann", entry("u1", PUMP))
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "import uploads.stores.index.owner as owner\n"
        "import tests.contract.test_index as t\n"
        "owner._insert = lambda *given: os._exit(9)\n"
        "index = owner.OwnerIndex(next(Path(sys.argv[1]).glob('*.sqlite3')))\n"
        "entry = t.entry('u2', t.RENT, t.HOLIDAY)\n"
        "index.put(entry, t.Embedded(t.np.stack([t.vector_of(p.text) for p in entry.pieces]), 'v1'))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path / "index"), cwd=Path(__file__).parents[2]
    )
    assert await process.wait() == 9
    assert await found(index, "ann", "rent") == [("u1", PUMP)]
    await put(index, "ann", entry("u3", HOLIDAY))
    assert (await found(index, "ann", "holiday"))[0] == ("u3", HOLIDAY)
