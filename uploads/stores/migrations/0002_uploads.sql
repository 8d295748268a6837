CREATE TABLE blobs (
    sha256 TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    size BIGINT NOT NULL
);
CREATE UNIQUE INDEX blobs_by_name ON blobs (name);
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    filename TEXT NOT NULL,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL REFERENCES blobs (sha256),
    media_type TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL
);
CREATE INDEX uploads_of_owner ON uploads (owner, created_at, id);
CREATE INDEX uploads_of_content ON uploads (sha256);
CREATE TABLE upload_parts (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    metadata TEXT NOT NULL,
    length BIGINT,
    received BIGINT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    upload_id TEXT
);
CREATE INDEX upload_parts_of_owner ON upload_parts (owner);
CREATE INDEX upload_parts_by_end ON upload_parts (expires_at);
-- What each owner keeps, and under the empty name what is on the store. Who changes uploads locks that row first.
CREATE TABLE upload_usage (
    owner TEXT NOT NULL PRIMARY KEY,
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);
INSERT INTO upload_usage (owner, files, bytes) VALUES ('', 0, 0);
