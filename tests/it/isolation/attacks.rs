//! The attacks: what one tenant's role tries against another tenant, the appliance and the server.

/// Where an attack is made from, and what it is aimed at.
pub struct Scene<'a> {
    /// The attacker's schema and role.
    pub mine: &'a str,
    /// The victim's schema and role.
    pub theirs: &'a str,
    /// The role that all tenants are members of.
    pub group: &'a str,
    /// A session of the victim.
    pub pid: i32,
    /// The number of the victim's table `hoard`, and of its function `reveal` and its view `hoard_view`.
    pub table: i64,
    pub function: i64,
    pub view: i64,
}

/// What is to come of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Permission denied.
    Denied,
    /// Refused for whatever reason: what it needs does not even exist here.
    Refused,
    /// It may run, and gives no row.
    Nothing,
}

/// An attack by name: what it is, what is to come of it, and the statement.
pub struct Attack {
    pub name: &'static str,
    pub outcome: Outcome,
    pub statement: String,
}

/// Placeholders: `{me}`, `{you}`, `{group}`, `{pid}`, `{table}`, `{function}`, `{view}`.
const ATTACKS: &[(&str, Outcome, &str)] = &[
    // ── another tenant's rows ──
    ("reads a table", Outcome::Denied, "SELECT * FROM {you}.hoard"),
    ("reads a view", Outcome::Denied, "SELECT * FROM {you}.hoard_view"),
    ("reads the audit log", Outcome::Denied, "SELECT * FROM {you}.audit_entries"),
    ("reads secrets", Outcome::Denied, "SELECT * FROM {you}.secrets"),
    ("counts rows", Outcome::Denied, "SELECT count(*) FROM {you}.documents"),
    ("inserts", Outcome::Denied, "INSERT INTO {you}.hoard DEFAULT VALUES"),
    ("updates", Outcome::Denied, "UPDATE {you}.hoard SET body = NULL"),
    ("deletes", Outcome::Denied, "DELETE FROM {you}.hoard"),
    ("merges", Outcome::Denied, "MERGE INTO {you}.hoard h USING (SELECT 1) o ON true WHEN MATCHED THEN DELETE"),
    ("truncates", Outcome::Denied, "TRUNCATE {you}.hoard"),
    ("locks a table", Outcome::Denied, "LOCK TABLE {you}.hoard IN ACCESS EXCLUSIVE MODE"),
    ("copies out", Outcome::Denied, "COPY {you}.hoard TO STDOUT"),
    ("explains", Outcome::Denied, "EXPLAIN SELECT * FROM {you}.hoard"),
    ("declares a cursor", Outcome::Denied, "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM {you}.hoard"),
    ("draws from a sequence", Outcome::Denied, "SELECT nextval('{you}.hoard_id_seq')"),
    ("reads a sequence", Outcome::Denied, "SELECT last_value FROM {you}.hoard_id_seq"),
    ("calls a function that runs as its owner", Outcome::Denied, "SELECT {you}.reveal()"),
    ("uses a type", Outcome::Denied, "SELECT 'good'::{you}.mood"),
    ("names a table by its number", Outcome::Denied, "SELECT '{you}.hoard'::regclass"),
    ("copies a table's shape", Outcome::Denied, "CREATE TABLE {me}.mine (LIKE {you}.hoard)"),
    ("refers to it by a foreign key", Outcome::Denied, "CREATE TABLE {me}.mine (d uuid REFERENCES {you}.documents)"),
    (
        "adds a foreign key",
        Outcome::Denied,
        "ALTER TABLE {me}.documents ADD FOREIGN KEY (id) REFERENCES {you}.documents",
    ),
    ("inherits from it", Outcome::Denied, "CREATE TABLE {me}.mine () INHERITS ({you}.hoard)"),
    // ── functions that run SQL ──
    (
        "switches the role inside one statement",
        Outcome::Denied,
        "SELECT * FROM (SELECT set_config('role', '{you}', true) OFFSET 0) s, ts_stat('SELECT body FROM {you}.hoard')",
    ),
    ("set_config of the role", Outcome::Denied, "SELECT set_config('role', '{you}', false)"),
    ("set_config of the session's user", Outcome::Denied, "SELECT set_config('session_authorization', '{you}', false)"),
    ("ts_stat", Outcome::Denied, "SELECT * FROM ts_stat('SELECT body FROM {you}.hoard')"),
    (
        "ts_rewrite",
        Outcome::Denied,
        "SELECT ts_rewrite('a'::tsquery, 'SELECT body::text::tsquery, ''b''::tsquery FROM {you}.hoard')",
    ),
    ("query_to_xml", Outcome::Denied, "SELECT query_to_xml('SELECT * FROM {you}.hoard', true, true, '')"),
    ("query_to_xmlschema", Outcome::Denied, "SELECT query_to_xmlschema('SELECT * FROM {you}.hoard', true, true, '')"),
    ("query_to_xml_and_xmlschema", Outcome::Denied, "SELECT query_to_xml_and_xmlschema('SELECT 1', true, true, '')"),
    ("cursor_to_xml", Outcome::Denied, "SELECT cursor_to_xml('c', 1, true, true, '')"),
    ("table_to_xml", Outcome::Refused, "SELECT table_to_xml({table}::oid::regclass, true, true, '')"),
    ("a DO block", Outcome::Denied, "DO $$ BEGIN PERFORM 1; END $$"),
    ("a DO block that switches", Outcome::Denied, "DO $$ BEGIN EXECUTE 'SET ROLE {you}'; END $$"),
    // ── other roles ──
    ("SET ROLE", Outcome::Denied, "SET ROLE {you}"),
    ("SET LOCAL ROLE of the owner", Outcome::Denied, "SET LOCAL ROLE {you}_owner"),
    ("SET ROLE of one's own owner", Outcome::Denied, "SET ROLE {me}_owner"),
    ("SET ROLE of the tenants' group", Outcome::Denied, "SET ROLE {group}"),
    ("SET ROLE of the administrator", Outcome::Denied, "SET ROLE aegis"),
    ("SET ROLE of the appliance", Outcome::Denied, "SET ROLE aegis_app"),
    ("SET SESSION AUTHORIZATION", Outcome::Denied, "SET SESSION AUTHORIZATION {you}"),
    ("becomes a member of a tenant", Outcome::Denied, "GRANT {you} TO {me}"),
    ("becomes a member of an owner", Outcome::Denied, "GRANT {you}_owner TO {me}"),
    ("makes another a member of the group's rights", Outcome::Denied, "GRANT {group} TO aegis_app"),
    ("reads all data as a predefined role", Outcome::Denied, "GRANT pg_read_all_data TO {me}"),
    ("becomes a superuser", Outcome::Denied, "ALTER ROLE {me} SUPERUSER"),
    ("takes more connections", Outcome::Denied, "ALTER ROLE {me} CONNECTION LIMIT 100"),
    ("changes another's search path", Outcome::Denied, "ALTER ROLE {you} SET search_path = {me}"),
    ("changes another's password", Outcome::Denied, "ALTER ROLE {you} PASSWORD 'x'"),
    ("bars another", Outcome::Denied, "ALTER ROLE {you} NOLOGIN"),
    ("creates a role", Outcome::Denied, "CREATE ROLE mine LOGIN"),
    ("drops a role", Outcome::Denied, "DROP ROLE {you}"),
    ("drops what another owns", Outcome::Denied, "DROP OWNED BY {you}_owner"),
    ("takes over what another owns", Outcome::Denied, "REASSIGN OWNED BY {you}_owner TO {me}"),
    // ── shadows, left for the next one on a shared session ──
    ("a temporary table", Outcome::Denied, "CREATE TEMP TABLE documents (body text)"),
    ("a temporary view", Outcome::Denied, "CREATE TEMP VIEW documents AS SELECT 1"),
    ("a temporary sequence", Outcome::Denied, "CREATE TEMP SEQUENCE s"),
    ("a table in one's own schema", Outcome::Denied, "CREATE TABLE {me}.mine ()"),
    ("a table in public", Outcome::Denied, "CREATE TABLE public.documents ()"),
    ("a table among the extensions", Outcome::Denied, "CREATE TABLE extensions.documents ()"),
    ("a table in another's schema", Outcome::Denied, "CREATE TABLE {you}.mine ()"),
    (
        "a function that shadows",
        Outcome::Denied,
        "CREATE FUNCTION extensions.lower(text) RETURNS text LANGUAGE sql AS 'SELECT 1'",
    ),
    ("a schema", Outcome::Denied, "CREATE SCHEMA mine"),
    ("an operator", Outcome::Denied, "CREATE OPERATOR {me}.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)"),
    ("a cast", Outcome::Denied, "CREATE CAST (text AS int) WITH INOUT AS IMPLICIT"),
    // ── one's own tables are the owner's ──
    ("drops its own table", Outcome::Denied, "DROP TABLE {me}.documents"),
    ("alters its own table", Outcome::Denied, "ALTER TABLE {me}.documents ADD COLUMN x int"),
    ("an index", Outcome::Denied, "CREATE INDEX ON {me}.documents (file_name)"),
    ("a function", Outcome::Denied, "CREATE FUNCTION {me}.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    (
        "a function in plpgsql",
        Outcome::Denied,
        "CREATE FUNCTION {me}.f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
    ),
    (
        "a trigger",
        Outcome::Denied,
        "CREATE TRIGGER t BEFORE INSERT ON {me}.documents FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    ("a rule", Outcome::Denied, "CREATE RULE r AS ON INSERT TO {me}.documents DO INSTEAD NOTHING"),
    ("a policy", Outcome::Denied, "CREATE POLICY p ON {me}.documents USING (true)"),
    ("a comment", Outcome::Denied, "COMMENT ON TABLE {me}.documents IS 'mine'"),
    ("gives its tables to another", Outcome::Nothing, "GRANT SELECT ON {me}.hoard TO {you}"),
    ("gives its schema to another", Outcome::Nothing, "GRANT USAGE ON SCHEMA {me} TO PUBLIC"),
    ("drops its own schema", Outcome::Denied, "DROP SCHEMA {me} CASCADE"),
    // ── the audit log ──
    ("changes an audit entry", Outcome::Denied, "UPDATE {me}.audit_entries SET actor = ''"),
    (
        "changes it by a merge",
        Outcome::Denied,
        "MERGE INTO {me}.audit_entries a USING (SELECT 1) o ON true WHEN MATCHED THEN DELETE",
    ),
    ("deletes audit entries", Outcome::Denied, "DELETE FROM {me}.audit_entries"),
    ("truncates the audit log", Outcome::Denied, "TRUNCATE {me}.audit_entries"),
    ("drops the audit log", Outcome::Denied, "DROP TABLE {me}.audit_entries"),
    (
        "forges a checkpoint",
        Outcome::Denied,
        "INSERT INTO {me}.audit_checkpoints (seq, hash, at, removed, signature) VALUES (1, '', now(), 1, '')",
    ),
    ("rewrites the history of migrations", Outcome::Denied, "DELETE FROM {me}.refinery_schema_history"),
    // ── the appliance ──
    ("reads the tenants", Outcome::Denied, "SELECT * FROM control.tenants"),
    ("reads the people", Outcome::Denied, "SELECT * FROM control.users"),
    ("reads the sessions", Outcome::Denied, "SELECT * FROM control.sessions"),
    ("reads the API tokens", Outcome::Denied, "SELECT * FROM control.api_tokens"),
    ("reads the appliance's log", Outcome::Denied, "SELECT * FROM control.audit_entries"),
    ("resumes itself", Outcome::Denied, "UPDATE control.tenants SET state = 'active'"),
    ("reads the jobs", Outcome::Denied, "SELECT * FROM apalis.jobs"),
    ("takes jobs", Outcome::Denied, "SELECT apalis.get_jobs('me', 'knowledge.ingest')"),
    (
        "puts a job in",
        Outcome::Denied,
        "INSERT INTO apalis.jobs (job, id, job_type) VALUES ('', 'x', 'knowledge.ingest')",
    ),
    // ── what the catalogs tell ──
    ("what others run", Outcome::Denied, "SELECT query FROM pg_stat_activity"),
    ("what others run, by the function", Outcome::Denied, "SELECT pg_stat_get_activity(NULL)"),
    ("what one backend runs", Outcome::Denied, "SELECT pg_stat_get_backend_activity(1)"),
    ("functions' sources", Outcome::Denied, "SELECT prosrc FROM pg_proc"),
    ("a function's source, by its number", Outcome::Denied, "SELECT pg_get_functiondef({function}::oid)"),
    ("a view's text, by its number", Outcome::Denied, "SELECT pg_get_viewdef({view}::oid)"),
    ("all roles", Outcome::Denied, "SELECT rolname FROM pg_roles"),
    ("all users", Outcome::Denied, "SELECT usename FROM pg_user"),
    ("verifiers of passwords", Outcome::Denied, "SELECT rolpassword FROM pg_authid"),
    ("verifiers, by the old view", Outcome::Denied, "SELECT passwd FROM pg_shadow"),
    ("who is a member of what", Outcome::Denied, "SELECT * FROM pg_auth_members"),
    ("roles' settings", Outcome::Denied, "SELECT * FROM pg_db_role_setting"),
    ("locks", Outcome::Denied, "SELECT * FROM pg_locks"),
    ("open cursors", Outcome::Denied, "SELECT * FROM pg_cursors"),
    ("statistics of values", Outcome::Denied, "SELECT * FROM pg_statistic"),
    ("statistics of values, by the view", Outcome::Nothing, "SELECT 1 FROM pg_stats WHERE schemaname = '{you}'"),
    ("how many rows live", Outcome::Denied, "SELECT n_live_tup FROM pg_stat_user_tables"),
    ("how many rows live, by the function", Outcome::Denied, "SELECT pg_stat_get_live_tuples({table}::oid)"),
    ("a table's size", Outcome::Denied, "SELECT pg_total_relation_size({table}::oid)"),
    ("the database's size", Outcome::Denied, "SELECT pg_database_size(current_database())"),
    (
        "columns, by information_schema",
        Outcome::Nothing,
        "SELECT 1 FROM information_schema.columns WHERE table_schema = '{you}'",
    ),
    (
        "tables, by information_schema",
        Outcome::Nothing,
        "SELECT 1 FROM information_schema.tables WHERE table_schema = '{you}'",
    ),
    (
        "privileges, by information_schema",
        Outcome::Nothing,
        "SELECT 1 FROM information_schema.table_privileges WHERE table_schema = '{you}'",
    ),
    ("the server's own files of settings", Outcome::Denied, "SELECT * FROM pg_file_settings"),
    ("who may connect", Outcome::Denied, "SELECT * FROM pg_hba_file_rules"),
    // ── the server ──
    ("ends another's session", Outcome::Denied, "SELECT pg_terminate_backend({pid})"),
    ("cancels another's statement", Outcome::Denied, "SELECT pg_cancel_backend({pid})"),
    ("makes a large object", Outcome::Denied, "SELECT lo_create(0)"),
    ("reads a file into one", Outcome::Denied, "SELECT lo_import('/etc/passwd')"),
    ("fills one", Outcome::Denied, "SELECT lo_from_bytea(0, 'x')"),
    ("lists large objects", Outcome::Denied, "SELECT * FROM pg_largeobject"),
    ("reads a file", Outcome::Denied, "SELECT pg_read_file('/etc/passwd')"),
    ("lists a directory", Outcome::Denied, "SELECT pg_ls_dir('.')"),
    ("looks at a file", Outcome::Denied, "SELECT pg_stat_file('postgresql.conf')"),
    ("runs a program", Outcome::Denied, "COPY (SELECT 1) TO PROGRAM 'id'"),
    ("takes a program's output", Outcome::Denied, "COPY {me}.documents FROM PROGRAM 'id'"),
    ("writes a file", Outcome::Denied, "COPY (SELECT 1) TO '/tmp/x'"),
    ("another server's tables", Outcome::Refused, "CREATE EXTENSION dblink"),
    ("files as tables", Outcome::Refused, "CREATE EXTENSION file_fdw"),
    ("tables of other servers", Outcome::Refused, "CREATE EXTENSION postgres_fdw"),
    ("a foreign server", Outcome::Refused, "CREATE SERVER s FOREIGN DATA WRAPPER file_fdw"),
    ("drops an extension", Outcome::Denied, "DROP EXTENSION hstore"),
    ("a language", Outcome::Denied, "CREATE LANGUAGE c2 HANDLER plpgsql_call_handler"),
    ("loads a library", Outcome::Denied, "LOAD 'pgoutput'"),
    ("a publication", Outcome::Denied, "CREATE PUBLICATION p FOR ALL TABLES"),
    ("a subscription", Outcome::Denied, "CREATE SUBSCRIPTION s CONNECTION 'dbname=aegis' PUBLICATION p"),
    (
        "an event trigger",
        Outcome::Denied,
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ),
    ("a database", Outcome::Denied, "CREATE DATABASE mine"),
    ("a tablespace", Outcome::Denied, "CREATE TABLESPACE mine LOCATION '/tmp'"),
    ("the server's settings", Outcome::Refused, "ALTER SYSTEM SET log_statement = 'all'"),
    ("everybody's replication", Outcome::Denied, "SET session_replication_role = replica"),
    ("the server's log", Outcome::Denied, "SET log_statement = 'all'"),
    ("a checkpoint", Outcome::Denied, "CHECKPOINT"),
    ("reads the settings again", Outcome::Denied, "SELECT pg_reload_conf()"),
    ("a slot of the write-ahead log", Outcome::Denied, "SELECT pg_create_physical_replication_slot('s')"),
    ("a backup", Outcome::Denied, "SELECT pg_backup_start('mine')"),
];

/// All of them, aimed.
pub fn all(scene: &Scene<'_>) -> Vec<Attack> {
    let fill = |text: &str| {
        text.replace("{me}", scene.mine)
            .replace("{you}", scene.theirs)
            .replace("{group}", scene.group)
            .replace("{pid}", &scene.pid.to_string())
            .replace("{table}", &scene.table.to_string())
            .replace("{function}", &scene.function.to_string())
            .replace("{view}", &scene.view.to_string())
    };
    ATTACKS
        .iter()
        .map(|(name, outcome, statement)| Attack { name, outcome: *outcome, statement: fill(statement) })
        .collect()
}
