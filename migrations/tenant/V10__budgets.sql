-- What models were used for and what that cost, and how much of it there may be in a month.

-- `scope`: `appliance` is set by the operator and takes the place of the configured default, `organisation` by an owner,
-- `agent:luna` by an owner for one agent. They bound calls that cost something; null is no bound.
CREATE TABLE budgets (
    scope      text        PRIMARY KEY CHECK (scope IN ('appliance', 'organisation') OR scope LIKE 'agent:_%'),
    tokens     bigint      CHECK (tokens >= 0),
    micros     bigint      CHECK (micros >= 0),
    updated_at timestamptz NOT NULL
);

-- What calls that cost something came to in a month, and what is set aside for those that go on. The empty agent is the
-- whole organisation. A call is let through by locking its two rows. Costs are in millionths of the currency.
CREATE TABLE usage_months (
    month           date    NOT NULL,
    agent           text    NOT NULL,
    tokens          bigint  NOT NULL DEFAULT 0,
    micros          bigint  NOT NULL DEFAULT 0,
    reserved_tokens bigint  NOT NULL DEFAULT 0,
    reserved_micros bigint  NOT NULL DEFAULT 0,
    warned          boolean NOT NULL DEFAULT false,
    PRIMARY KEY (month, agent)
);

CREATE TABLE usage_reservations (
    id      uuid        PRIMARY KEY,
    month   date        NOT NULL,
    agent   text        NOT NULL,
    model   text        NOT NULL,
    tokens  bigint      NOT NULL,
    micros  bigint      NOT NULL,
    made_at timestamptz NOT NULL
);

-- Every call, local ones too, added up by day. `unpriced`: calls that cost something nobody has said how much.
CREATE TABLE usage_days (
    day               date   NOT NULL,
    agent             text   NOT NULL,
    model             text   NOT NULL,
    local             boolean NOT NULL,
    calls             bigint NOT NULL,
    unpriced          bigint NOT NULL,
    prompt_tokens     bigint NOT NULL,
    completion_tokens bigint NOT NULL,
    micros            bigint NOT NULL,
    PRIMARY KEY (day, agent, model, local)
);

-- What an answer cost: {"micros": 4200, "currency": "USD"}, with null for micros where that is not known. Null: before this.
ALTER TABLE messages ADD COLUMN cost jsonb;
