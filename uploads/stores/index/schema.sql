-- One owner's documents. A piece's slot is its row in the file of vectors and its row in the table of words.
CREATE TABLE IF NOT EXISTS documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    upload_id TEXT NOT NULL UNIQUE,
    filename TEXT NOT NULL,
    pages INTEGER,
    version TEXT NOT NULL,
    dimensions INTEGER NOT NULL,
    first_slot INTEGER NOT NULL,
    pieces INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS texts (
    document INTEGER PRIMARY KEY,
    text TEXT NOT NULL,
    spans TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS pieces (
    slot INTEGER PRIMARY KEY,
    document INTEGER NOT NULL,
    number INTEGER NOT NULL,
    page INTEGER,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    name TEXT NOT NULL,
    heading TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (
    name, heading, text, content = 'pieces', content_rowid = 'slot', tokenize = 'porter unicode61 remove_diacritics 2'
);
-- The file of vectors is replaced as a whole when it is rewritten; its name carries this number.
CREATE TABLE IF NOT EXISTS state (
    edition INTEGER NOT NULL,
    changes INTEGER NOT NULL
);
INSERT INTO state SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM state);
