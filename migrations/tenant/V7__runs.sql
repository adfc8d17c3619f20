-- Runs that can be gone on with: after a crash, and after somebody has decided what an agent may do.
CREATE TABLE runs (
    id           uuid        CONSTRAINT runs_pkey PRIMARY KEY,
    agent        text        NOT NULL,
    conversation uuid        NOT NULL REFERENCES conversations ON DELETE CASCADE,
    user_id      uuid        NOT NULL,
    -- Everything that was asked and the agent as it was then, as JSON.
    asked        text        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('running', 'waiting', 'finished')),
    -- Who works on it, and until when that holds unless it is renewed.
    node         uuid,
    lease_until  timestamptz NOT NULL,
    started_at   timestamptz NOT NULL,
    -- What it has read that others wrote, as a JSON array of names.
    has_read     text        NOT NULL DEFAULT '[]',
    -- The audit log's last entry of the run, while it is not known to be written.
    last_entry   text,
    CHECK ((state = 'running') = (node IS NOT NULL))
);

-- A conversation has one answer in the making, whoever makes it.
CREATE UNIQUE INDEX runs_unfinished ON runs (conversation) WHERE state <> 'finished';
CREATE INDEX runs_by_conversation ON runs (conversation);
CREATE INDEX runs_last_entry ON runs (id) WHERE last_entry IS NOT NULL;

-- What has happened in a run that is not finished. The audit log keeps it for good; here it is removed at the end.
-- Two nodes that both believe the run theirs cannot both write: the second finds the place taken.
CREATE TABLE run_journal (
    run     uuid   NOT NULL REFERENCES runs ON DELETE CASCADE,
    seq     bigint NOT NULL,
    kind    text   NOT NULL CHECK (kind IN ('searched', 'replied', 'began', 'ended')),
    -- JSON as text: models write things that jsonb does not take.
    payload text   NOT NULL,
    PRIMARY KEY (run, seq)
);

-- What agents may do without asking. No row: what only reads or concerns the agents' own things is allowed, all else asks.
CREATE TABLE tool_policies (
    tool            text        NOT NULL,
    -- Empty: any agent that has no row of its own.
    agent           text        NOT NULL,
    rule            text        NOT NULL CHECK (rule IN ('allow', 'ask', 'deny')),
    -- Whether `allow` also holds in a run that has read what others wrote.
    after_untrusted text        NOT NULL CHECK (after_untrusted IN ('allow', 'ask')),
    set_by          uuid        NOT NULL,
    set_at          timestamptz NOT NULL,
    PRIMARY KEY (tool, agent)
);

-- What agents have asked leave for.
CREATE TABLE approvals (
    id         uuid        CONSTRAINT approvals_pkey PRIMARY KEY,
    run        uuid        NOT NULL REFERENCES runs ON DELETE CASCADE,
    -- The call in the run, by the model's name for it.
    call       text        NOT NULL,
    tool       text        NOT NULL,
    agent      text        NOT NULL,
    -- Exactly what will be sent, as JSON.
    arguments  text        NOT NULL,
    -- What will be sent in place of it, because whoever decided changed it.
    edited     text,
    -- Why it is asked: the rule says so, or the run has read what others wrote.
    because    text        NOT NULL CHECK (because IN ('rule', 'untrusted')),
    has_read   text        NOT NULL,
    -- Who asked the question, and may decide in this run whatever their role.
    user_id    uuid        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('pending', 'allowed', 'denied', 'expired', 'withdrawn')),
    -- What whoever denied it wants the agent to know.
    reason     text,
    asked_at   timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    decided_at timestamptz,
    decided_by uuid,
    UNIQUE (run, call)
);

CREATE INDEX approvals_pending ON approvals (expires_at) WHERE state = 'pending';
CREATE INDEX approvals_newest ON approvals (asked_at DESC, id DESC);
