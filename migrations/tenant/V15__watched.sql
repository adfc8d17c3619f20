-- What was seen in the folders that collections are filled from: a file is taken once it stands still, and again when it
-- has changed.

CREATE TABLE watched_files (
    collection_id uuid NOT NULL REFERENCES collections ON DELETE CASCADE,
    -- Below the collection's folder, `HR/Leave/policy.md`.
    path text NOT NULL,
    bytes bigint NOT NULL,
    modified_at timestamptz NOT NULL,
    -- Whether it has been taken, or refused for good, as it is now.
    settled boolean NOT NULL,
    -- Why it was refused, for a person.
    refusal text,
    PRIMARY KEY (collection_id, path)
);
