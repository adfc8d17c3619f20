-- API tokens: what programs come in with, on behalf of a person, in one organisation, for some of what the person may do.
CREATE TABLE control.api_tokens (
    id uuid PRIMARY KEY,
    -- SHA-256 of the token: whoever reads this table cannot use it.
    token_hash bytea NOT NULL CONSTRAINT api_tokens_token_key UNIQUE,
    user_id uuid NOT NULL,
    tenant_id text NOT NULL,
    name text NOT NULL,
    -- Names of permissions. What the owner's role does not carry, or no longer, the token does not carry either.
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at timestamptz NOT NULL,
    -- NULL: until it is revoked.
    expires_at timestamptz,
    last_used_at timestamptz,
    -- Whoever leaves an organisation takes their tokens along.
    FOREIGN KEY (user_id, tenant_id) REFERENCES control.memberships (user_id, tenant_id) ON DELETE CASCADE
) WITH (fillfactor = 80); -- `last_used_at` changes often; room for it beside the old row
CREATE INDEX api_tokens_owner ON control.api_tokens (tenant_id, user_id);
