-- The second factor: codes out of an authenticator app (RFC 6238), and recovery codes for when it is lost.

CREATE TABLE control.second_factors (
    user_id uuid PRIMARY KEY REFERENCES control.users (id) ON DELETE CASCADE,
    -- The secret, encrypted with age to the appliance's sealing key `sealed_to`.
    sealed bytea NOT NULL,
    sealed_to text NOT NULL,
    created_at timestamptz NOT NULL,
    -- NULL while it is being set up: it is asked for once a first code was right.
    confirmed_at timestamptz,
    -- The time step (30 s since 1970) of the newest code that was used: that one and older ones are not taken again.
    last_step bigint NOT NULL DEFAULT 0
);

-- Each is good once, and is then removed.
CREATE TABLE control.recovery_codes (
    user_id uuid NOT NULL REFERENCES control.second_factors (user_id) ON DELETE CASCADE,
    -- SHA-256: the codes are 80 random bits.
    code_hash bytea NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

-- Sign-ins whose password was right and whose code is still missing; bound to the browser by a cookie.
CREATE TABLE control.pending_sign_ins (
    token_hash bytea PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES control.users (id) ON DELETE CASCADE,
    remember boolean NOT NULL,
    expires_at timestamptz NOT NULL,
    wrong_codes integer NOT NULL DEFAULT 0
);
CREATE INDEX pending_sign_ins_user ON control.pending_sign_ins (user_id);

-- Whether members must have a second factor to reach anything in the organisation.
ALTER TABLE control.tenants ADD COLUMN requires_second_factor boolean NOT NULL DEFAULT false;
