CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    digest TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    last_used_at DOUBLE PRECISION
);
CREATE TABLE access_users (
    name TEXT NOT NULL PRIMARY KEY,
    scopes TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    changed_at DOUBLE PRECISION NOT NULL
);
-- Grows with every change of keys and users, so that a server asks for one number to know that nothing has changed.
CREATE TABLE access_version (
    number BIGINT NOT NULL PRIMARY KEY
);
INSERT INTO access_version (number) VALUES (0);
