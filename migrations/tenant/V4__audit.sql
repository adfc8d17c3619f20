-- Where the log begins once its oldest entries were removed: what was sealed until there, signed by the appliance
-- (src/audit/checkpoint.rs). The tenant's role may only read; the schema's owner writes it together with the removal.
CREATE TABLE audit_checkpoints (
    seq       bigint      PRIMARY KEY CHECK (seq > 0),
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    at        timestamptz NOT NULL CHECK (isfinite(at)),
    removed   bigint      NOT NULL,
    signature text        NOT NULL
);

-- For the log's page, newest first: of one action, from one time to another.
CREATE INDEX audit_entries_action ON audit_entries (action, seq);
CREATE INDEX audit_entries_at ON audit_entries (at);
