CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    arguments TEXT NOT NULL,
    max_attempts INTEGER NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    state TEXT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT,
    attempts INTEGER NOT NULL,
    version BIGINT NOT NULL,
    not_before DOUBLE PRECISION NOT NULL,
    lease TEXT,
    lease_until DOUBLE PRECISION,
    error_code TEXT,
    error_message TEXT,
    result_blob TEXT,
    result_filename TEXT,
    result_media_type TEXT,
    result_size BIGINT
);
CREATE INDEX jobs_by_owner ON jobs (owner, created_at, id);
CREATE INDEX jobs_by_state ON jobs (state, owner);
CREATE UNIQUE INDEX jobs_by_result ON jobs (result_blob);
