-- The knowledge base of one tenant: documents, their original bytes, their passages, and the passages' vectors.

CREATE TABLE documents (
    id uuid PRIMARY KEY,
    file_name text NOT NULL,
    media_type text NOT NULL,
    bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'reading', 'embedding', 'ready', 'failed')),
    -- Why it failed, as a sentence for a person.
    error text,
    -- Passages embedded, of how many; the total is 0 until the file has been read.
    done integer NOT NULL DEFAULT 0,
    total integer NOT NULL DEFAULT 0,
    pages integer,
    -- Counts who has taken up the work; a worker that was overtaken finds its number gone and stops.
    attempt integer NOT NULL DEFAULT 0,
    added_by jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    ready_at timestamptz,
    -- The same file twice is stored once.
    CONSTRAINT documents_sha256_key UNIQUE (sha256)
);

-- The original, in parts of one MiB, so that neither storing nor sending it needs it in memory as a whole.
CREATE TABLE document_contents (
    document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
    part integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (document_id, part)
);
-- Most formats are compressed already.
ALTER TABLE document_contents ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE passages (
    id uuid PRIMARY KEY,
    document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
    ordinal integer NOT NULL,
    -- `page 3`, `Leave › Parental leave`.
    locator text NOT NULL,
    -- Title and headings: searched and embedded with the text, not shown.
    context text NOT NULL,
    text text NOT NULL,
    searchable tsvector NOT NULL,
    UNIQUE (document_id, ordinal)
);
CREATE INDEX passages_searchable_idx ON passages USING gin (searchable);

-- Apart from the passages, so that a change of model adds rows while the old ones keep answering.
CREATE TABLE passage_vectors (
    passage_id uuid NOT NULL REFERENCES passages ON DELETE CASCADE,
    model text NOT NULL,
    document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
    dimensions smallint NOT NULL,
    embedding extensions.halfvec NOT NULL,
    PRIMARY KEY (passage_id, model)
);
CREATE INDEX passage_vectors_document_idx ON passage_vectors (document_id);
-- One index for each common number of dimensions: all-MiniLM has 384, nomic-embed-text 768. A model with another
-- number is searched exactly, which is fast enough up to some 20,000 passages.
CREATE INDEX passage_vectors_384_idx ON passage_vectors
    USING hnsw ((embedding::extensions.halfvec(384)) extensions.halfvec_cosine_ops) WHERE dimensions = 384;
CREATE INDEX passage_vectors_768_idx ON passage_vectors
    USING hnsw ((embedding::extensions.halfvec(768)) extensions.halfvec_cosine_ops) WHERE dimensions = 768;
