CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    arguments TEXT NOT NULL,
    done BIGINT NOT NULL,
    total BIGINT,
    attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    version BIGINT NOT NULL,
    created DOUBLE PRECISION NOT NULL,
    updated DOUBLE PRECISION NOT NULL,
    not_before DOUBLE PRECISION NOT NULL,
    lease TEXT,
    lease_until DOUBLE PRECISION,
    error_code TEXT,
    error_message TEXT,
    result TEXT,
    result_name TEXT,
    result_type TEXT
);
CREATE INDEX jobs_of_owner ON jobs (owner, created, id);
CREATE INDEX jobs_to_do ON jobs (state, owner);
