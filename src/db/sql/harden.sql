-- Takes from PUBLIC what lets one role look at, or reach for, another's things (measured on PostgreSQL 18.6):
-- set_config with ts_stat switch roles inside one SELECT, plpgsql gives DO blocks, large objects are shared, and
-- the catalogs tell functions' sources, roles' names and tables' sizes. It needs a superuser. Privileges that are
-- already gone are not touched, so that running it at each start writes nothing.
DO $$
DECLARE
    item text;
BEGIN
    FOR item IN
        SELECT c.oid::regclass::text
        FROM pg_catalog.pg_class c
        WHERE c.relnamespace = 'pg_catalog'::regnamespace
          AND (c.relname ~ '^pg_stat(io)?_'
               OR c.relname IN ('pg_proc', 'pg_roles', 'pg_user', 'pg_group', 'pg_auth_members', 'pg_db_role_setting',
                                'pg_locks', 'pg_prepared_xacts', 'pg_cursors', 'pg_largeobject_metadata',
                                'pg_shdepend', 'pg_shdescription', 'pg_default_acl', 'pg_init_privs'))
          AND has_table_privilege('public', c.oid, 'SELECT')
    LOOP
        EXECUTE format('REVOKE ALL ON pg_catalog.%s FROM PUBLIC', item);
    END LOOP;

    FOR item IN
        SELECT p.oid::regprocedure::text
        FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace
          AND (p.proname IN ('set_config', 'ts_stat', 'loread', 'lowrite', 'pg_relation_size', 'pg_table_size',
                             'pg_indexes_size', 'pg_total_relation_size', 'pg_database_size', 'pg_lock_status',
                             'query_to_xml', 'query_to_xmlschema', 'query_to_xml_and_xmlschema', 'cursor_to_xml')
               OR p.proname ~ '^lo_' OR p.proname ~ '^pg_stat_get_'
               -- These give the text of anybody's function or view to whoever guesses its number.
               OR p.proname ~ '^pg_get_(functiondef|function_|viewdef|ruledef|triggerdef)')
          AND p.prokind = 'f'
          AND has_function_privilege('public', p.oid, 'EXECUTE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', item);
    END LOOP;

    IF has_language_privilege('public', 'plpgsql', 'USAGE') THEN
        REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
    END IF;
END
$$;
