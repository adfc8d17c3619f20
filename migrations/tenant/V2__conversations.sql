-- Conversations between a person and an agent. `user_id` has no foreign key, since people live in the control schema;
-- it is null for questions asked at the command line of the server.
CREATE TABLE conversations (
    id         uuid        PRIMARY KEY,
    user_id    uuid,
    agent      text        NOT NULL,
    title      text        NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE INDEX conversations_user ON conversations (user_id, updated_at DESC);

-- Ids are ordered by time, so a conversation reads in the order of its messages' ids.
CREATE TABLE messages (
    id                uuid        PRIMARY KEY,
    conversation      uuid        NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    speaker           text        NOT NULL CHECK (speaker IN ('user', 'agent')),
    state             text        NOT NULL CHECK (state IN ('complete', 'stopped', 'failed')),
    text              text        NOT NULL,
    citations         jsonb       NOT NULL,
    tool_calls        jsonb       NOT NULL,
    model             text,
    quoting           boolean     NOT NULL,
    problem           text,
    run               uuid        NOT NULL,
    duration_ms       bigint      NOT NULL,
    prompt_tokens     bigint      NOT NULL,
    completion_tokens bigint      NOT NULL,
    created_at        timestamptz NOT NULL
);

CREATE INDEX messages_conversation ON messages (conversation, id);
