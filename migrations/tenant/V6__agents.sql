-- The organisation's own agents, and what it changed of those that come with the appliance. An agent that nobody touched
-- has no row, and follows the appliance's text from release to release.
CREATE TABLE agents (
    id       text        CONSTRAINT agents_pkey PRIMARY KEY CHECK (id ~ '^[a-z][a-z0-9-]{0,39}$'),
    -- The newest version, which is the one that holds.
    version  integer     NOT NULL CHECK (version > 0),
    added_at timestamptz NOT NULL
);

-- An agent as it was from one change to the next. Null stands for what the appliance brings along.
CREATE TABLE agent_versions (
    agent   text        NOT NULL REFERENCES agents ON DELETE CASCADE,
    version integer     NOT NULL CHECK (version > 0),
    name    text,
    title   text,
    summary text,
    brief   text,
    hue     smallint    CHECK (hue BETWEEN 0 AND 359),
    -- The route of models; empty: the default one.
    route   text,
    -- The tools that it is offered: `knowledge.search`, `knowledge.*`, `*`.
    tools   text[],
    soul    text,
    enabled boolean     NOT NULL,
    -- Who, as the audit log writes it.
    made_by jsonb       NOT NULL,
    made_at timestamptz NOT NULL,
    note    text        NOT NULL,
    PRIMARY KEY (agent, version)
);

-- Which agent answered; null before there was more than one.
ALTER TABLE messages ADD COLUMN agent text;
