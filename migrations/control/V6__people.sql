-- Invitations, links for a new password, browsers that people have signed in with, and what sessions remember.

-- Whether the browser was asked to stay signed in: if not, its cookie goes when it is closed.
ALTER TABLE control.sessions ADD COLUMN remembered boolean NOT NULL DEFAULT true;
ALTER TABLE control.sessions ALTER COLUMN remembered SET DEFAULT false;
-- The person's role was changed: the session gets a new token at the next page.
ALTER TABLE control.sessions ADD COLUMN renew boolean NOT NULL DEFAULT false;

-- Sessions end and are deleted; this stays.
ALTER TABLE control.memberships ADD COLUMN last_seen_at timestamptz;

CREATE TABLE control.invitations (
    id uuid PRIMARY KEY,
    -- SHA-256 of the token in the link: whoever reads this table cannot use it.
    token_hash bytea NOT NULL CONSTRAINT invitations_token_key UNIQUE,
    tenant_id text NOT NULL REFERENCES control.tenants (id) ON DELETE CASCADE,
    email text NOT NULL,
    role text NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    -- NULL: somebody at the command line of the server.
    invited_by uuid REFERENCES control.users (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
-- A new invitation of somebody takes the place of the one before.
CREATE UNIQUE INDEX invitations_email_key ON control.invitations (tenant_id, lower(email));
CREATE INDEX invitations_invited_by ON control.invitations (invited_by);

-- At most one link for a person; a new one takes its place.
CREATE TABLE control.password_resets (
    user_id uuid PRIMARY KEY REFERENCES control.users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL CONSTRAINT password_resets_token_key UNIQUE,
    expires_at timestamptz NOT NULL
);

-- Browsers in which somebody has signed in: guesses made elsewhere do not slow these down.
CREATE TABLE control.known_browsers (
    user_id uuid NOT NULL REFERENCES control.users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL,
    last_used_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, token_hash)
);
CREATE INDEX known_browsers_token ON control.known_browsers (token_hash);
