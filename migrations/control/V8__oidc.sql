-- Signing in through somebody else's page (OpenID Connect).

-- Who somebody is elsewhere: issuer and subject, never the e-mail address, which can be given to another person.
CREATE TABLE control.identities (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES control.users (id) ON DELETE CASCADE,
    issuer text NOT NULL,
    subject text NOT NULL,
    -- Which of the configuration's providers, and the address there, for the person to know it again.
    provider text NOT NULL,
    email text,
    created_at timestamptz NOT NULL,
    last_used_at timestamptz,
    CONSTRAINT identities_key UNIQUE (issuer, subject)
);
CREATE INDEX identities_user ON control.identities (user_id);

-- Browsers that have been sent to a provider and have not come back yet. State, nonce and the PKCE verifier are derived
-- from the token in the browser's cookie and the appliance's key: nothing of them is here.
CREATE TABLE control.oidc_attempts (
    token_hash bytea PRIMARY KEY,
    provider text NOT NULL,
    -- Whose account the identity is to be linked to; NULL for a sign-in.
    user_id uuid REFERENCES control.users (id) ON DELETE CASCADE,
    next text NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX oidc_attempts_user ON control.oidc_attempts (user_id);

-- A session that began at a provider ends when that identity is unlinked.
ALTER TABLE control.sessions ADD COLUMN identity_id uuid REFERENCES control.identities (id) ON DELETE CASCADE;
CREATE INDEX sessions_identity ON control.sessions (identity_id) WHERE identity_id IS NOT NULL;

-- Whoever came by an identity has no password until they choose one.
ALTER TABLE control.users ALTER COLUMN password_hash DROP NOT NULL;
