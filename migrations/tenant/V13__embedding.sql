-- Which embedding model's vectors a tenant is searched by, and how its passages come to those of another one.

-- One row, from the first document or question on.
CREATE TABLE embedding_model (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- The model whose vectors searches compare with, and that questions are embedded by.
    active text NOT NULL,
    since timestamptz NOT NULL,
    -- What people have chosen for this organisation; null while it follows the configuration.
    chosen text,
    -- There may be vectors or indexes that nobody needs any more, or none yet for the active model's vectors.
    untidy boolean NOT NULL DEFAULT false
);
INSERT INTO embedding_model (active, since)
SELECT model, now() FROM passage_vectors GROUP BY model ORDER BY count(*) DESC LIMIT 1;

-- Every change of the model. At most one is not finished.
CREATE TABLE reembeddings (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    previous text NOT NULL,
    status text NOT NULL CHECK (status IN ('running', 'waiting', 'done', 'cancelled', 'failed')),
    -- What it waits for, or why it failed, as a sentence for a person.
    reason text,
    started_by jsonb NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    -- Passages that have the new model's vector, of how many.
    done integer NOT NULL DEFAULT 0,
    total integer NOT NULL DEFAULT 0,
    -- Since when it has been going without a pause, and how many were done then: for the estimate of the time left.
    going_since timestamptz,
    going_from integer NOT NULL DEFAULT 0,
    -- Counts who has taken up the work; a worker that was overtaken finds its number gone and stops.
    attempt integer NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX reembeddings_unfinished_idx ON reembeddings ((true)) WHERE status IN ('running', 'waiting');

-- The SHA-256 of the text that was embedded: the same text is not embedded twice as long as some passage has its vector.
ALTER TABLE passage_vectors ADD COLUMN text_hash bytea;
UPDATE passage_vectors SET text_hash = sha256(convert_to(passages.context || E'\n\n' || passages.text, 'UTF8'))
FROM passages WHERE passages.id = passage_vectors.passage_id;
ALTER TABLE passage_vectors ALTER COLUMN text_hash SET NOT NULL;
CREATE INDEX passage_vectors_text_idx ON passage_vectors (model, text_hash);
