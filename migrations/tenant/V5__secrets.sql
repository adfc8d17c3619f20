-- The tenant's secrets, each encrypted to the tenant's own key (src/vault/mod.rs says which key protects what).
-- The key lies here, sealed to the appliance's, so that a backup of this schema has it and cannot be read without the
-- appliance's key file.
CREATE TABLE secret_key (
    one       boolean     PRIMARY KEY DEFAULT true CHECK (one),
    -- The public half: what values are encrypted to.
    recipient text        NOT NULL,
    -- The identity, encrypted to `sealed_to`.
    sealed    bytea       NOT NULL,
    -- The public half of the appliance's key: tells which ones a rotation still has to seal again.
    sealed_to text        NOT NULL,
    made_at   timestamptz NOT NULL
);

CREATE TABLE secrets (
    name         text        CONSTRAINT secrets_pkey PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_.-]{0,63}$'),
    sealed       bytea       NOT NULL,
    set_at       timestamptz NOT NULL,
    -- Who, as they were called then; the audit log has their id.
    set_by       text        NOT NULL,
    last_used_at timestamptz
);
