-- Meetings of agents. `user_id` has no foreign key, since people live in the control schema; it is null for meetings that
-- were called at the command line of the server. `members` is who they were when the meeting was called.
CREATE TABLE meetings (
    id         uuid        PRIMARY KEY,
    user_id    uuid,
    question   text        NOT NULL,
    members    jsonb       NOT NULL,
    chair      text        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('running', 'finished', 'stopped', 'failed')),
    problem    text,
    shared     boolean     NOT NULL,
    synthesis  jsonb,
    created_at timestamptz NOT NULL,
    ended_at   timestamptz
);

CREATE INDEX meetings_user ON meetings (user_id, created_at DESC);
CREATE INDEX meetings_running ON meetings (id) WHERE state = 'running';

-- What a member said in a round, stored when it is complete: what is missing is asked for after a restart.
CREATE TABLE contributions (
    meeting     uuid        NOT NULL REFERENCES meetings (id) ON DELETE CASCADE,
    round       text        NOT NULL CHECK (round IN ('positions', 'answers', 'synthesis')),
    agent       text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('complete', 'failed', 'stopped', 'passed')),
    run         uuid,
    text        text        NOT NULL,
    citations   jsonb       NOT NULL,
    model       text,
    quoting     boolean     NOT NULL,
    problem     text,
    duration_ms bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (meeting, round, agent)
);

-- What a meeting says is to be done, each with an id for good, so that a task can be made of it.
CREATE TABLE next_actions (
    id       uuid     PRIMARY KEY,
    meeting  uuid     NOT NULL REFERENCES meetings (id) ON DELETE CASCADE,
    position smallint NOT NULL,
    owner    text     NOT NULL,
    agent    text,
    what     text     NOT NULL,
    due      text     NOT NULL,
    UNIQUE (meeting, position)
);
