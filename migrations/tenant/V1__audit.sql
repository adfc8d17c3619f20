-- The tenant's audit log. Every entry seals itself and the one before it (src/audit/chain.rs says how).
-- The tenant's role may read and insert, never update or delete.
-- `actor` and `detail` are text, not jsonb: the bytes that were hashed are the bytes that are kept.
CREATE TABLE audit_entries (
    seq      bigint      PRIMARY KEY CHECK (seq > 0),
    at       timestamptz NOT NULL CHECK (isfinite(at)),
    actor    text        NOT NULL,
    action   text        NOT NULL,
    run      uuid,
    subject  text,
    detail   text        NOT NULL,
    previous bytea       NOT NULL CHECK (octet_length(previous) = 32),
    hash     bytea       NOT NULL CHECK (octet_length(hash) = 32)
);

CREATE INDEX audit_entries_run ON audit_entries (run, seq) WHERE run IS NOT NULL;
