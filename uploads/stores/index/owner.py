"""One owner's index: its SQLite file and its file of vectors, for threads. Every public method blocks."""

import errno
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from uploads.documents.document import Document, Span
from uploads.documents.pieces import Piece
from uploads.errors import StoreFailed, StoreFull, StoreUnavailable
from uploads.files import make_folder
from uploads.index import Embedded, Hit, IndexedDocument, Question
from uploads.names import spoken_name
from uploads.ranking import fuse
from uploads.stores.index.vectors import Range, VectorFile, write_rows
from uploads.stores.index.words import match_expression

SCHEMA = Path(__file__).with_name("schema.sql")
BUSY_TIMEOUT_S = 30.0
PAUSE_S = 0.01
CANDIDATES = 50  # of each ranking; places below change nothing among the first
COLUMN_WEIGHTS = "0.5, 1.0, 1.0"  # of name, heading and text, for bm25
WORDS_WEIGHT, VECTORS_WEIGHT = 1.0, 1.5  # measured, docs/experiments.md
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
REWRITE_DEAD_ROWS = 10_000  # fewer are not worth the time
DAMAGED = "The search index is damaged: remove its folder and process the files again."


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `documents`."""

    id: int
    upload_id: str
    filename: str
    version: str
    dimensions: int
    slots: Range


@dataclass(frozen=True, slots=True)
class View:
    """What the index holds after its n-th change."""

    changes: int
    documents: Sequence[Stored]
    files: dict[str, VectorFile]


class OwnerIndex:
    """One connection reads, under a lock; each change opens its own, so that a long one holds no search up."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._view: View | None = None

    def put(self, entry: IndexedDocument, embedded: Embedded) -> None:
        with self._changing() as connection:
            _remove(connection, entry.upload_id)
            first = _next_slot(connection)
            path = self._vectors(embedded.version, _edition(connection))
            if len(entry.pieces):
                write_rows(path, first, embedded.vectors)
            _insert(connection, entry, embedded, first)

    def remove(self, upload_id: str) -> None:
        if not self._path.exists():
            return
        with self._changing() as connection:
            _remove(connection, upload_id)

    def find(self, upload_id: str) -> IndexedDocument | None:
        with self._reading() as connection:
            return _document(connection, upload_id) if connection is not None else None

    def has(self, upload_id: str, version: str) -> bool:
        with self._reading() as connection:
            if connection is None:
                return False
            asked = "SELECT 1 FROM documents WHERE upload_id = ? AND version = ?"
            return connection.execute(asked, (upload_id, version)).fetchone() is not None

    def search(self, question: Question) -> list[Hit]:
        with self._reading() as connection:
            if connection is None:
                return []
            view = self._current(connection)
            chosen = [
                one for one in view.documents if question.upload_ids is None or one.upload_id in question.upload_ids
            ]
            by_words = _by_words(connection, question, chosen, all_of_them=len(chosen) == len(view.documents))
            by_vectors = _by_vectors(view, question, chosen)
            scores = fuse([(WORDS_WEIGHT, by_words), (VECTORS_WEIGHT, by_vectors)])
            return _hits(connection, chosen, list(scores.items())[: question.limit])

    def close(self) -> None:
        """It opens again when it is used again."""
        with self._lock:
            if self._reader is not None:
                self._reader.close()
            self._reader = self._view = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """One transaction: all that is read belongs together. None when there is no index yet."""
        with self._lock, _told():
            self._reader = self._reader or _open_filled(self._path)
            if self._reader is None:
                yield None
                return
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                self._reader.execute("ROLLBACK")

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, and one at a time over all processes."""
        with _told(), closing(_made(self._path)) as connection:
            _set_durable(connection)
            connection.executescript("BEGIN IMMEDIATE;" + SCHEMA.read_text("utf-8"))
            unused: list[Path] = []
            try:
                yield connection
                unused = self._rewrite_if_hollow(connection)
                connection.execute("UPDATE state SET changes = changes + 1")
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        for path in unused:
            path.unlink(missing_ok=True)

    def _current(self, connection: sqlite3.Connection) -> View:
        """The documents and the open files of vectors; made again only after a change, whoever made it."""
        edition, changes = connection.execute("SELECT edition, changes FROM state").fetchone()
        if self._view is None or self._view.changes != changes:
            documents = _documents(connection)
            rows = {one.version: (one.slots.end, one.dimensions) for one in documents if one.slots.count}
            try:
                files = {version: VectorFile(self._vectors(version, edition), *rows[version]) for version in rows}
            except (OSError, ValueError) as error:
                raise StoreFailed(DAMAGED) from error
            self._view = View(changes, documents, files)
        return self._view

    def _vectors(self, version: str, edition: int) -> Path:
        return self._path.with_suffix(f".{version}.{edition}.f32")

    def _rewrite_if_hollow(self, connection: sqlite3.Connection) -> list[Path]:
        """Deleted documents leave holes. When there are more of these than of rows, all rows move together in new
        files. Gives the files that are no longer used."""
        documents = _documents(connection)
        live = sum(one.slots.count for one in documents)
        if _next_slot(connection) - live < max(live, REWRITE_DEAD_ROWS):
            return []
        edition = _edition(connection)
        first = 0
        for one in documents:
            if one.slots.count:
                old = VectorFile(self._vectors(one.version, edition), one.slots.end, one.dimensions)
                write_rows(self._vectors(one.version, edition + 1), first, old.rows(one.slots))
            _move(connection, one, first)
            first += one.slots.count
        connection.execute("UPDATE state SET edition = edition + 1")
        connection.execute("INSERT INTO words(words) VALUES ('rebuild')")
        return list(self._path.parent.glob(f"{self._path.stem}.*.{edition}.f32"))


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _made(path: Path) -> sqlite3.Connection:
    """SQLite gives its files the rights of everybody's umask: the folder keeps others out."""
    make_folder(path.parent)
    return _open(path)


def _open_filled(path: Path) -> sqlite3.Connection | None:
    """None when nobody has written anything yet; the very first writer may be about to."""
    if not path.exists():
        return None
    connection = _open(path)
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone() is None:
        connection.close()
        return None
    return connection


def _set_durable(connection: sqlite3.Connection) -> None:
    """Readers go on beside a writer, and a commit survives a power failure."""
    connection.execute("PRAGMA synchronous = FULL")
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:  # while another process makes the same file, SQLite does not wait by itself
            if time.monotonic() > deadline:
                raise
            time.sleep(PAUSE_S)


@contextmanager
def _told() -> Iterator[None]:
    """The database's own words for what goes wrong become ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if "full" in str(error) or getattr(error, "errno", None) in NO_SPACE:
            raise StoreFull("There is no room for the search index.") from error
        if "locked" in str(error) or "busy" in str(error):
            raise StoreUnavailable("The search index is busy: try again.") from error
        raise StoreFailed("The search index cannot be used.") from error


def _insert(connection: sqlite3.Connection, entry: IndexedDocument, embedded: Embedded, first: int) -> None:
    document = entry.document
    row = connection.execute(
        "INSERT INTO documents(upload_id, filename, pages, version, dimensions, first_slot, pieces) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (
            entry.upload_id,
            entry.filename,
            document.pages,
            embedded.version,
            embedded.vectors.shape[1],
            first,
            len(entry.pieces),
        ),
    ).fetchone()
    spans = json.dumps([(span.start, span.end, span.page, span.heading) for span in document.spans])
    connection.execute("INSERT INTO texts VALUES (?, ?, ?)", (row[0], document.text, spans))
    name = spoken_name(entry.filename)
    connection.executemany(
        "INSERT INTO pieces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                first + piece.number,
                row[0],
                piece.number,
                piece.page,
                piece.start,
                piece.end,
                name,
                piece.heading,
                piece.text,
            )
            for piece in entry.pieces
        ),
    )
    connection.execute(
        "INSERT INTO words(rowid, name, heading, text) SELECT slot, name, heading, text FROM pieces WHERE slot >= ?",
        (first,),
    )


def _remove(connection: sqlite3.Connection, upload_id: str) -> None:
    found = connection.execute(
        "DELETE FROM documents WHERE upload_id = ? RETURNING id, first_slot, pieces", (upload_id,)
    ).fetchone()
    if found is None:
        return
    document, first, count = found
    slots = (first, first + count)
    connection.execute(
        "INSERT INTO words(words, rowid, name, heading, text) "
        "SELECT 'delete', slot, name, heading, text FROM pieces WHERE slot >= ? AND slot < ?",
        slots,
    )
    connection.execute("DELETE FROM pieces WHERE slot >= ? AND slot < ?", slots)
    connection.execute("DELETE FROM texts WHERE document = ?", (document,))


def _move(connection: sqlite3.Connection, one: Stored, first: int) -> None:
    """To slots before its own: the earlier documents have left them."""
    connection.execute(
        "UPDATE pieces SET slot = slot - ? WHERE slot >= ? AND slot < ?",
        (one.slots.first - first, one.slots.first, one.slots.end),
    )
    connection.execute("UPDATE documents SET first_slot = ? WHERE id = ?", (first, one.id))


def _next_slot(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(first_slot + pieces), 0) FROM documents").fetchone()[0])


def _edition(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT edition FROM state").fetchone()[0])


def _documents(connection: sqlite3.Connection) -> list[Stored]:
    rows = connection.execute(
        "SELECT id, upload_id, filename, version, dimensions, first_slot, pieces FROM documents ORDER BY first_slot"
    )
    return [
        Stored(document, upload_id, filename, version, dimensions, Range(first, count))
        for document, upload_id, filename, version, dimensions, first, count in rows
    ]


def _document(connection: sqlite3.Connection, upload_id: str) -> IndexedDocument | None:
    row = connection.execute(
        "SELECT filename, pages, text, spans, first_slot, pieces FROM documents JOIN texts ON document = id "
        "WHERE upload_id = ?",
        (upload_id,),
    ).fetchone()
    if row is None:
        return None
    filename, pages, text, spans, first, count = row
    pieces = connection.execute(
        'SELECT number, start, "end", page, heading, text FROM pieces WHERE slot >= ? AND slot < ? ORDER BY slot',
        (first, first + count),
    )
    document = Document(text, tuple(Span(*span) for span in json.loads(spans)), pages)
    return IndexedDocument(upload_id, filename, document, [Piece(*piece) for piece in pieces])


def _by_words(
    connection: sqlite3.Connection, question: Question, chosen: Sequence[Stored], *, all_of_them: bool
) -> list[int]:
    expression = match_expression(question.text)
    if not expression or not chosen:
        return []
    within, slots = "", list[int]()
    if not all_of_them:
        within = "AND (" + " OR ".join(["rowid BETWEEN ? AND ?"] * len(chosen)) + ")"
        slots = [slot for one in chosen for slot in (one.slots.first, one.slots.end - 1)]
    rows = connection.execute(
        f"SELECT rowid FROM words WHERE words MATCH ? {within} "  # noqa: S608  only question marks are put in
        f"ORDER BY bm25(words, {COLUMN_WEIGHTS}), rowid LIMIT ?",
        (expression, *slots, CANDIDATES),
    )
    return [row[0] for row in rows]


def _by_vectors(view: View, question: Question, chosen: Sequence[Stored]) -> list[int]:
    comparable = [one.slots for one in chosen if one.version == question.version and one.slots.count]
    if not comparable:
        return []
    return view.files[question.version].nearest(question.vector, comparable, CANDIDATES)


def _hits(connection: sqlite3.Connection, chosen: Sequence[Stored], scores: Sequence[tuple[int, float]]) -> list[Hit]:
    documents = {one.id: one for one in chosen}
    hits: list[Hit] = []
    for slot, score in scores:
        document, *piece = connection.execute(
            'SELECT document, number, start, "end", page, heading, text FROM pieces WHERE slot = ?', (slot,)
        ).fetchone()
        hits.append(Hit(documents[document].upload_id, documents[document].filename, Piece(*piece), score))
    return hits
