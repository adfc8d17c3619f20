-- What every database of an appliance has before the first migration. Run at each start, by the administrator.
CREATE SCHEMA IF NOT EXISTS extensions;
CREATE SCHEMA IF NOT EXISTS control;
CREATE SCHEMA IF NOT EXISTS apalis;

-- By default everybody may connect, make temporary tables and look into `public`.
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;

GRANT CONNECT ON DATABASE {database} TO {app};
GRANT USAGE ON SCHEMA control, apalis, extensions TO {app};
-- What all tenants may. A role of its own, because a list of privileges that named each of them would be read from
-- end to end whenever one of them connects or plans a query.
GRANT CONNECT ON DATABASE {database} TO {group};
GRANT USAGE ON SCHEMA extensions TO {group};

ALTER DEFAULT PRIVILEGES IN SCHEMA control GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA apalis GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
ALTER DEFAULT PRIVILEGES IN SCHEMA control GRANT USAGE, SELECT ON SEQUENCES TO {app};
-- The rules of a function are its schema's: nobody calls one without USAGE there.
ALTER DEFAULT PRIVILEGES IN SCHEMA apalis GRANT EXECUTE ON FUNCTIONS TO {app};
