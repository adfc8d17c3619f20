-- Files that arrive in pieces: what has come of them is kept until they are whole, are given up, or nobody has sent
-- anything for a day.

CREATE TABLE uploads (
    id uuid PRIMARY KEY,
    -- Whose: nobody else goes on with it.
    user_id uuid NOT NULL,
    collection_id uuid NOT NULL REFERENCES collections ON DELETE CASCADE,
    -- With its folders.
    file_name text NOT NULL,
    bytes bigint NOT NULL,
    received bigint NOT NULL DEFAULT 0,
    touched_at timestamptz NOT NULL
);
CREATE INDEX uploads_user_idx ON uploads (user_id);

CREATE TABLE upload_parts (
    upload_id uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    -- Where in the file it begins.
    position bigint NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (upload_id, position)
);
ALTER TABLE upload_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;
