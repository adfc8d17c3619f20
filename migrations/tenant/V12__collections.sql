-- Collections with rights, documents with versions, originals stored once by their content, and passages searched in
-- the language that they are written in.

CREATE TABLE collections (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    -- The least role that reads it.
    least_role text NOT NULL DEFAULT 'viewer' CHECK (least_role IN ('viewer', 'member', 'admin', 'owner')),
    -- The agents that read it; null stands for all, also those who come later.
    agents text[],
    -- Where documents go for which nobody names a collection. There is always one.
    is_default boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX collections_name_key ON collections (lower(name));
CREATE UNIQUE INDEX collections_default_key ON collections (is_default) WHERE is_default;
INSERT INTO collections (id, name, description, is_default, created_at)
VALUES (gen_random_uuid(), 'General', 'What everybody and every agent may read', true, now());

-- The same bytes are kept once, whatever they are called and in however many collections they are.
CREATE TABLE originals (
    sha256 bytea PRIMARY KEY,
    bytes bigint NOT NULL
);
-- In parts of at most one MiB, so that neither storing nor sending needs the whole in memory.
CREATE TABLE original_parts (
    sha256 bytea NOT NULL REFERENCES originals ON DELETE CASCADE,
    part integer NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (sha256, part)
);
-- Most formats are compressed already.
ALTER TABLE original_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;
INSERT INTO originals (sha256, bytes) SELECT sha256, bytes FROM documents;
INSERT INTO original_parts (sha256, part, bytes)
SELECT documents.sha256, contents.part, contents.bytes
FROM document_contents AS contents JOIN documents ON documents.id = contents.document_id;
DROP TABLE document_contents;

ALTER TABLE documents
    DROP CONSTRAINT documents_status_check,
    DROP CONSTRAINT documents_sha256_key,
    ADD CONSTRAINT documents_status_check
        CHECK (status IN ('queued', 'reading', 'embedding', 'ready', 'failed', 'cancelled', 'superseded')),
    ADD CONSTRAINT documents_sha256_fkey FOREIGN KEY (sha256) REFERENCES originals,
    ADD COLUMN collection_id uuid REFERENCES collections,
    -- Folders above the file where it came from, `HR/Leave`; empty at the top.
    ADD COLUMN folder text NOT NULL DEFAULT '',
    -- The same for all versions of a document: the id of the first.
    ADD COLUMN series uuid,
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    -- When a newer version took its place. It is found no more; what was cited from it can still be opened.
    ADD COLUMN superseded_at timestamptz,
    -- The text-search configuration of the language that it is written in; null until it has been read.
    ADD COLUMN language text;
UPDATE documents SET series = id, language = 'english', collection_id = (SELECT id FROM collections WHERE is_default);
ALTER TABLE documents
    ALTER COLUMN collection_id SET NOT NULL,
    ALTER COLUMN series SET NOT NULL;
-- The same file twice in a collection is one document. An older version may come back.
CREATE UNIQUE INDEX documents_content_key ON documents (collection_id, sha256) WHERE status <> 'superseded';
CREATE INDEX documents_name_idx ON documents (collection_id, folder, file_name);
CREATE INDEX documents_series_idx ON documents (series);
CREATE INDEX documents_sha256_idx ON documents (sha256);
-- The list shows the newest first, some at a time.
CREATE INDEX documents_created_idx ON documents (created_at DESC, id DESC) WHERE status <> 'superseded';

-- Words as they are written stand beside the stems of the language, so that names, other languages and a wrong guess
-- at the language are found too.
UPDATE passages SET searchable = searchable || to_tsvector('simple', text);
