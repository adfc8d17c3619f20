-- The organisations that this appliance serves. Their data is not here but in a schema of each one's own.
CREATE TABLE control.tenants (
    -- Opaque: the names of schemas and roles are made of it, and every role of the database can see those.
    id text PRIMARY KEY CHECK (id ~ '^[a-z2-7]{16}$'),
    slug text NOT NULL CONSTRAINT tenants_slug_key UNIQUE,
    name text NOT NULL,
    -- creating: the schema may be missing or half made; the next start finishes it.
    state text NOT NULL CHECK (state IN ('creating', 'active')),
    created_at timestamptz NOT NULL
);

-- Which schemas are made, and from which migrations and grants: a start brings up to date those that differ.
CREATE TABLE control.tenant_schemas (
    tenant text PRIMARY KEY,
    fingerprint text NOT NULL
);

-- Which appliance's key the roles' passwords are derived from (external databases only).
CREATE TABLE control.appliance (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    key_fingerprint text NOT NULL
);
