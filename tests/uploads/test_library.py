"""From a file that was uploaded to the piece that answers a question, with everything real but the model."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.uploads.documents.files import picture_of, write_docx, write_pdf
from tests.uploads.libraries import HashingEmbedder, Shelf, open_shelf
from uploads.documents.errors import BrokenDocument, UnsupportedDocument
from uploads.documents.pieces import PieceSize
from uploads.errors import ModelUnavailable, UnknownUpload
from uploads.index import Vectors
from uploads.library import EMBEDDED_AT_ONCE

SMALL = PieceSize(most=12, overlap=0)
PAGES = [["Prices", "The pump costs twelve euro."], ["Terms", "The parcel is paid in thirty days."]]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    async with open_shelf(tmp_path / "data", HashingEmbedder(), SMALL) as opened:
        yield opened


async def test_a_file_is_read_cut_and_found(shelf: Shelf, tmp_path: Path) -> None:
    upload = await shelf.keep(write_pdf(tmp_path / "prices.pdf", PAGES))
    entry = await shelf.library.ingest(upload)
    assert entry.document.pages == 2
    hits = await shelf.library.best_pieces("When is the parcel paid?", "ann", None, 5)
    assert (hits[0].upload_id, hits[0].filename, hits[0].piece.page) == (upload.id, "prices.pdf", 2)
    assert entry.document.text[hits[0].piece.start : hits[0].piece.end] == hits[0].piece.text
    assert await shelf.library.best_pieces("When is the parcel paid?", "bob", None, 5) == []
    assert await shelf.library.best_pieces("parcel", "bob", [upload.id], 5) == []


async def test_every_format_goes_through_the_sandbox(shelf: Shelf, tmp_path: Path) -> None:
    paths = [write_docx(tmp_path / "a.docx", "# Lease\n\nThe rent is due."), tmp_path / "b.png"]
    picture_of(["The rent is due."]).save(paths[1])
    for name, text in {
        "c.md": "# Lease\n\nThe rent is due.",
        "d.html": "<html><p>The rent is due.</p></html>",
        "e.csv": "what,when\nThe rent is due.,now\n",
        "f.json": '{"text": "The rent is due."}',
        "g.jsonl": '{"text": "The rent is due."}\n',
        "h.txt": "The rent is due.",
    }.items():
        paths.append(tmp_path / name)
        paths[-1].write_text(text)
    for path in paths:
        await shelf.library.ingest(await shelf.keep(path))
    found = {hit.filename for hit in await shelf.library.best_pieces("The rent is due.", "ann", None, 20)}
    assert found == {path.name for path in paths}


async def test_what_a_piece_is_about_counts_also_when_it_stands_above_it(shelf: Shelf) -> None:
    await shelf.library.ingest(await shelf.keep_text("nothing else", "other.md"))
    upload = await shelf.keep_text("# Hamster insurance\n\nIt costs nine euro a month and more.", "terms_2031.md")
    await shelf.library.ingest(upload)
    (hit, *_) = await shelf.library.best_pieces("hamster terms", "ann", None, 5)
    assert hit.upload_id == upload.id


async def test_progress_names_phases_and_counts(shelf: Shelf) -> None:
    text = "\n\n".join(f"The pump number {n} stands in the hall of the north." for n in range(EMBEDDED_AT_ONCE * 2))
    told: list[tuple[str, int, int | None]] = []
    entry = await shelf.library.ingest(await shelf.keep_text(text), lambda *given: told.append(given))
    total = len(entry.pieces)
    assert total > EMBEDDED_AT_ONCE
    assert told == [
        ("read", 0, None),
        ("read", 1, 1),
        ("embed", 0, total),
        *(("embed", done, total) for done in range(EMBEDDED_AT_ONCE, total, EMBEDDED_AT_ONCE)),
        ("embed", total, total),
        ("index", 0, 1),
        ("index", 1, 1),
    ]


async def test_a_document_can_be_read_without_being_made_searchable(shelf: Shelf) -> None:
    upload = await shelf.keep_text("The pump costs twelve euro.")
    entry = await shelf.library.read_document(upload)
    assert [piece.text for piece in entry.pieces] == ["The pump costs twelve euro."]
    assert await shelf.library.best_pieces("pump", "ann", None, 5) == []
    await shelf.library.ingest(upload)
    assert await shelf.library.read_document(upload) == entry


async def test_what_is_searchable_is_not_made_so_again(tmp_path: Path) -> None:
    embedder = HashingEmbedder()
    async with open_shelf(tmp_path / "data", embedder, SMALL) as shelf:
        upload = await shelf.keep_text("The pump costs twelve euro.")
        for _ in range(3):
            await shelf.library.make_searchable(upload)
        assert len(embedder.embedded) == 1
        embedder.name = "another model"
        await shelf.library.make_searchable(upload)
        assert len(embedder.embedded) == 2


class ReplacedEmbedder(HashingEmbedder):
    """Another version of its model comes with every call: what was opened before stays what it was."""

    async def open(self) -> HashingEmbedder:
        self.name += "+"
        return HashingEmbedder(self.name, self.embedded)


async def test_a_document_has_vectors_of_one_version_though_the_model_changes(tmp_path: Path) -> None:
    embedder = ReplacedEmbedder("v")
    async with open_shelf(tmp_path / "data", embedder, SMALL) as shelf:
        upload = await shelf.keep_text("\n\n".join(f"The pump {n} is red." for n in range(2 * EMBEDDED_AT_ONCE)))
        await shelf.library.ingest(upload)
        assert await shelf.index.has("ann", upload.id, "v+")
        assert await shelf.library.best_pieces("pump", "ann", None, 1), "by its words, with a later version too"


async def test_an_upload_that_is_deleted_is_no_longer_found(shelf: Shelf) -> None:
    upload = await shelf.keep_text("The pump costs twelve euro.")
    await shelf.library.ingest(upload)
    with pytest.raises(UnknownUpload):
        await shelf.library.delete(upload.id, "bob")
    assert len(await shelf.library.best_pieces("pump", "ann", None, 5)) == 1
    await shelf.library.delete(upload.id, "ann")
    assert await shelf.library.best_pieces("pump", "ann", None, 5) == []
    with pytest.raises(UnknownUpload):
        await shelf.uploads.find(upload.id, "ann")


@dataclass
class InterruptedEmbedder(HashingEmbedder):
    """Lets something else happen while it embeds."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().embed_documents(texts)


async def test_an_upload_that_is_deleted_while_it_is_read_leaves_nothing(tmp_path: Path) -> None:
    embedder = InterruptedEmbedder()
    async with open_shelf(tmp_path / "data", embedder, SMALL) as shelf:
        upload = await shelf.keep_text("The pump costs twelve euro.")
        embedder.meanwhile = lambda: shelf.library.delete(upload.id, "ann")
        with pytest.raises(UnknownUpload):
            await shelf.library.ingest(upload)
        assert await shelf.index.find("ann", upload.id) is None


async def test_an_upload_that_is_deleted_costs_no_more_work(tmp_path: Path) -> None:
    embedder = InterruptedEmbedder()
    async with open_shelf(tmp_path / "data", embedder, SMALL) as shelf:
        text = "\n\n".join(f"The pump number {n} stands in the hall of the north." for n in range(EMBEDDED_AT_ONCE * 3))
        upload = await shelf.keep_text(text)

        async def delete() -> None:
            embedder.meanwhile = None
            await shelf.library.delete(upload.id, "ann")

        embedder.meanwhile = delete
        with pytest.raises(UnknownUpload):
            await shelf.library.ingest(upload)
        assert len(embedder.embedded) == EMBEDDED_AT_ONCE


@pytest.mark.parametrize(
    ("name", "text", "kind"), [("a.json", "{", BrokenDocument), ("a.zip", "PK\3\4", BrokenDocument)]
)
async def test_a_file_that_cannot_be_read_says_why(shelf: Shelf, name: str, text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await shelf.library.ingest(await shelf.keep_text(text, name))


async def test_a_file_of_an_unknown_kind_is_refused_by_name(shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(UnsupportedDocument):
        await shelf.library.ingest(await shelf.keep(tmp_path / "a.bin"))


@dataclass
class StuckEmbedder(HashingEmbedder):
    """Never comes back from its second batch, once."""

    has_stuck: bool = False

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if self.embedded and not self.has_stuck:
            self.has_stuck = True
            await asyncio.Event().wait()
        return await super().embed_documents(texts)


async def test_cancelled_between_batches_it_leaves_the_index_as_it_was_and_later_goes_on(tmp_path: Path) -> None:
    embedder = StuckEmbedder()
    async with open_shelf(tmp_path / "data", embedder, SMALL) as shelf:
        text = "\n\n".join(f"The pump number {n} stands in the hall of the north." for n in range(EMBEDDED_AT_ONCE * 2))
        upload = await shelf.keep_text(text)
        first_batch = asyncio.Event()
        working = asyncio.create_task(
            shelf.library.ingest(upload, lambda phase, done, _: first_batch.set() if done > 1 else None)
        )
        async with asyncio.timeout(30):
            await first_batch.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert await shelf.index.find("ann", upload.id) is None
        assert len(embedder.embedded) == EMBEDDED_AT_ONCE
        entry = await shelf.library.ingest(upload)
        assert [text.split("\n")[1] for text in embedder.embedded] == [piece.text for piece in entry.pieces]
        (hit, *_) = await shelf.library.best_pieces("pump number 40", "ann", None, 5)
        assert "number 40 " in hit.piece.text


class AbsentEmbedder(HashingEmbedder):
    async def open(self) -> HashingEmbedder:
        raise ModelUnavailable("Not here.")


async def test_without_a_model_nothing_is_half_done(tmp_path: Path) -> None:
    async with open_shelf(tmp_path / "data", AbsentEmbedder(), SMALL) as shelf:
        upload = await shelf.keep_text("The pump costs twelve euro.")
        for work in (shelf.library.ingest(upload), shelf.library.best_pieces("pump", "ann", None, 5)):
            with pytest.raises(ModelUnavailable):
                await work
        assert await shelf.index.find("ann", upload.id) is None
