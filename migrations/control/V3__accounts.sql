-- People, which organisations they belong to, and the browsers that they are signed in on.

CREATE TABLE control.users (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    -- A PHC string: $argon2id$v=19$m=…
    password_hash text NOT NULL,
    created_at timestamptz NOT NULL
);
-- One account for an address, however it is capitalised.
CREATE UNIQUE INDEX users_email_key ON control.users (lower(email));

CREATE TABLE control.memberships (
    user_id uuid NOT NULL REFERENCES control.users (id) ON DELETE CASCADE,
    tenant_id text NOT NULL REFERENCES control.tenants (id) ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('owner', 'member')),
    created_at timestamptz NOT NULL,
    CONSTRAINT memberships_pkey PRIMARY KEY (user_id, tenant_id)
);
CREATE INDEX memberships_tenant ON control.memberships (tenant_id);

CREATE TABLE control.sessions (
    id uuid PRIMARY KEY,
    -- SHA-256 of the token in the cookie: whoever reads this table cannot use it.
    token_hash bytea NOT NULL CONSTRAINT sessions_token_key UNIQUE,
    user_id uuid NOT NULL,
    -- The tenant that the session works in.
    tenant_id text NOT NULL,
    created_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    address text,
    user_agent text,
    -- Whoever leaves an organisation is signed out of it in the same moment.
    FOREIGN KEY (user_id, tenant_id) REFERENCES control.memberships (user_id, tenant_id) ON DELETE CASCADE
) WITH (fillfactor = 80); -- `last_seen_at` changes often; room for it beside the old row
CREATE INDEX sessions_user ON control.sessions (user_id, tenant_id);

-- Tokens for setting up the first owner; there are none once there is a user.
CREATE TABLE control.setup_tokens (
    token_hash bytea PRIMARY KEY,
    created_at timestamptz NOT NULL
);
