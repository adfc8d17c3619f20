-- What agents remember: of one person, of their own work, and for the whole organisation.
CREATE TABLE memories (
    id           uuid        CONSTRAINT memories_pkey PRIMARY KEY,
    about        text        NOT NULL CHECK (about IN ('agent', 'person', 'organisation')),
    agent        text,
    user_id      uuid,
    text         text        NOT NULL CHECK (text <> ''),
    kind         text        NOT NULL CHECK (kind IN ('fact', 'preference', 'decision', 'task')),
    -- Where it comes from: who wrote it down, and in which call of which run.
    source       text        NOT NULL CHECK (source IN ('agent', 'person', 'import', 'compaction')),
    run          uuid,
    call         text,
    conversation uuid,
    -- The person in whose conversation it was learned.
    learned_from uuid,
    -- Whether the run that wrote it had read what others wrote, and what, as a JSON array of names.
    tainted      boolean     NOT NULL,
    has_read     text        NOT NULL,
    -- Since when a person stands by it. Until then what is tainted is given to nobody, and what all would be told is told
    -- in the conversations of that one person alone.
    confirmed_at timestamptz,
    -- As the audit log writes it.
    made_by      jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    used_at      timestamptz,
    -- In the row itself, so that text and vector go together. Null until there was a model to make it.
    model        text,
    dimensions   smallint,
    embedding    extensions.halfvec,
    searchable   tsvector    NOT NULL,
    CHECK ((about = 'agent') = (agent IS NOT NULL)),
    CHECK ((about = 'person') = (user_id IS NOT NULL))
);

CREATE INDEX memories_of ON memories (about, agent, user_id);
CREATE UNIQUE INDEX memories_call ON memories (run, call) WHERE call IS NOT NULL;
CREATE INDEX memories_conversation ON memories (conversation) WHERE conversation IS NOT NULL;

-- Where long conversations were condensed: for models, everything up to `until` is told by `summary`. The messages stay.
CREATE TABLE compactions (
    conversation uuid        NOT NULL REFERENCES conversations ON DELETE CASCADE,
    until        uuid        NOT NULL,
    -- How many messages it stands for, those of earlier summaries included.
    messages     integer     NOT NULL,
    -- Null once something in it was forgotten. The cut stays: the messages before it would bring it back.
    summary      text        CHECK (summary <> ''),
    tokens       integer     NOT NULL,
    -- What was written into `memories` on the way.
    facts        uuid[]      NOT NULL,
    run          uuid        NOT NULL,
    model        text        NOT NULL,
    made_at      timestamptz NOT NULL,
    PRIMARY KEY (conversation, until)
);

-- A run writes down what it was reminded of.
ALTER TABLE run_journal DROP CONSTRAINT run_journal_kind_check;
ALTER TABLE run_journal ADD CONSTRAINT run_journal_kind_check
    CHECK (kind IN ('searched', 'remembered', 'replied', 'began', 'ended'));
