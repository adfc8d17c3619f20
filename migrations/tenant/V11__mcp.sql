-- Other people's tools: servers that speak MCP, what they offer, and which agent may use what of it.
CREATE TABLE mcp_servers (
    -- What its tools' names begin with.
    name      text        CONSTRAINT mcp_servers_pkey PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{0,31}$'),
    kind      text        NOT NULL CHECK (kind IN ('http', 'command')),
    -- The address, or the name of a command that the operator's configuration allows.
    target    text        NOT NULL,
    -- Headers that are sent: name, and the secret whose value it has, as a JSON object. Never values.
    headers   text        NOT NULL DEFAULT '{}',
    added_by  uuid        NOT NULL,
    added_at  timestamptz NOT NULL,
    -- When its tools were last asked for, and what went wrong then.
    looked_at timestamptz,
    problem   text
);

-- What a server offers, as it was when an admin looked. What runs offer to models is this, never what it says now.
CREATE TABLE mcp_tools (
    server      text    NOT NULL REFERENCES mcp_servers ON DELETE CASCADE,
    name        text    NOT NULL,
    description text    NOT NULL,
    -- JSON Schema, as text: servers write things that jsonb does not take.
    parameters  text    NOT NULL,
    -- SHA-256 of all that the server said of it.
    fingerprint text    NOT NULL,
    -- An admin's word, not the server's.
    read_only   boolean NOT NULL DEFAULT false,
    -- The server says something else by now: nobody may use it until an admin has looked again.
    changed     boolean NOT NULL DEFAULT false,
    PRIMARY KEY (server, name)
);

-- No row: the agent does not even see the tool.
CREATE TABLE mcp_grants (
    server text NOT NULL,
    tool   text NOT NULL,
    agent  text NOT NULL,
    PRIMARY KEY (server, tool, agent),
    FOREIGN KEY (server, tool) REFERENCES mcp_tools ON DELETE CASCADE
);
