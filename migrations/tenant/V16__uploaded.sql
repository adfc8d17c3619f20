-- When these bytes were last given under this name: of two versions the later given one wins, in whatever order they
-- are read. The same bytes come again, so this is not when the document was made.
ALTER TABLE documents ADD COLUMN uploaded_at timestamptz;
UPDATE documents SET uploaded_at = created_at;
ALTER TABLE documents ALTER COLUMN uploaded_at SET NOT NULL;

-- A document may come to say what another of its collection says, under its own name.
DROP INDEX documents_content_key;
CREATE INDEX documents_content_idx ON documents (collection_id, sha256) WHERE status <> 'superseded';

-- What could not be read goes with the document that took its place.
UPDATE documents SET series = present.series
FROM documents AS present
WHERE documents.status = 'superseded' AND documents.series = documents.id AND documents.total = 0
  AND present.status = 'ready' AND present.id <> documents.id AND present.collection_id = documents.collection_id
  AND present.folder = documents.folder AND present.file_name = documents.file_name;

-- The page of the file that a passage stands on, which may be printed there with another number.
ALTER TABLE passages ADD COLUMN page integer;
UPDATE passages SET page = substring(locator FROM '^page ([0-9]{1,6})$')::integer;
