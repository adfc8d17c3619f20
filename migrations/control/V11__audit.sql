-- The appliance's own log, for what concerns no tenant or all of them: a chain as every tenant has one
-- (migrations/tenant, src/audit/chain.rs). The appliance's role may read and insert, never update or delete.
CREATE TABLE control.audit_entries (
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
CREATE INDEX audit_entries_action ON control.audit_entries (action, seq);

CREATE TABLE control.audit_checkpoints (
    seq       bigint      PRIMARY KEY CHECK (seq > 0),
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    at        timestamptz NOT NULL CHECK (isfinite(at)),
    removed   bigint      NOT NULL,
    signature text        NOT NULL
);
