-- DDL that would make a view wrong without a word is refused by event triggers, where a superuser could make them.

DO $body$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;

    -- A maintained view that reads an ordinary one was made from its definition, so that may not become another.
    CREATE OR REPLACE FUNCTION stepping.views_change() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    DECLARE
        changed text;
        reader text;
    BEGIN
        FOR changed, reader IN
            SELECT ddl.object_identity, concat(v.schema_name, '.', v.view_name)
            FROM pg_event_trigger_ddl_commands() AS ddl
            CROSS JOIN stepping.maintained_view AS v
            CROSS JOIN LATERAL jsonb_array_elements(v.expands) AS read
            WHERE ddl.classid = 'pg_class'::regclass
              AND ddl.objid = to_regclass(concat(quote_ident(read ->> 0), '.', quote_ident(read ->> 1)))
              AND rtrim(btrim(pg_get_viewdef(ddl.objid), E' \n'), ';') <> read ->> 2
            ORDER BY 2 LIMIT 1
        LOOP
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = concat('cannot change view ', changed, ': maintained view ', reader, ' was made from it'),
                HINT = 'Drop that one first, and make it again afterwards.';
        END LOOP;
    END
    $function$;

    -- ALTER COLUMN ... TYPE ... USING changes values, and fires no trigger. Of the columns that a view holds Postgres refuses
    -- it; this is for views that an older version made. When this runs, pg_attribute has just got the
    -- new type (4 among the reasons); the columns that a stage reads are those of the tables where its changes wait.
    CREATE OR REPLACE FUNCTION stepping.refuse_rewrite() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    DECLARE
        rewritten oid := pg_event_trigger_table_rewrite_oid();
        changed text;
    BEGIN
        FOR changed IN
            SELECT concat(rewritten::regclass, '.', quote_ident(c.attname))
            FROM pg_trigger AS t
            JOIN pg_proc AS p ON p.oid = t.tgfoid
            JOIN pg_class AS a
              ON a.relnamespace = p.pronamespace AND (
                    starts_with(a.relname, left(p.proname, -length('maintain')) || 'aside_')
                    OR starts_with(a.relname, left(p.proname, -length('maintain')) || 'log_')
                )
            JOIN pg_attribute AS u ON u.attrelid = a.oid AND u.attnum > 0
            JOIN pg_attribute AS c ON c.attrelid = t.tgrelid AND c.attname = u.attname
            WHERE t.tgrelid = rewritten AND t.tgname ~ '^stepping_[0-9]{6}_insert_'
              AND NOT EXISTS (SELECT FROM stepping.holding(ARRAY[left(p.proname, -length('__maintain'))]))
              AND pg_event_trigger_table_rewrite_reason() & 4 <> 0 AND age(c.xmin) <= age(pg_current_xact_id()::xid)
            ORDER BY 1 LIMIT 1
        LOOP
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = concat('cannot change the type of ', changed, ': a maintained view reads it'),
                HINT = 'Drop the view first, and make it again afterwards.';
        END LOOP;
    END
    $function$;

    -- The trigger functions know their tables by name: under another one they would read whatever has the old one.
    CREATE OR REPLACE FUNCTION stepping.refuse_rename() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    DECLARE
        renamed regclass;
        before text;
    BEGIN
        FOR renamed, before IN
            SELECT c.oid::regclass, f.key
            FROM pg_event_trigger_ddl_commands() AS ddl
            JOIN pg_class AS c ON c.oid = ddl.objid AND ddl.classid = 'pg_class'::regclass
            JOIN pg_trigger AS t ON t.tgrelid = c.oid AND t.tgname ~ '^stepping_[0-9]{6}_insert_'
            CROSS JOIN LATERAL convert_from(
                substring(t.tgargs FOR position('\x00'::bytea IN t.tgargs) - 1), getdatabaseencoding()
            ) AS f (key)
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            WHERE f.key NOT IN (c.relname, concat(n.nspname, '.', c.relname))
              AND NOT EXISTS (SELECT FROM stepping.followers(c.oid::regclass) WHERE role = 'part')
            ORDER BY 1 LIMIT 1
        LOOP
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = concat('cannot rename ', before, ' to ', renamed, ': a maintained view reads it'),
                HINT = 'Drop the view first, and make it again afterwards.';
        END LOOP;
    END
    $function$;

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'stepping_views_change') THEN
        CREATE EVENT TRIGGER stepping_views_change ON ddl_command_end
            WHEN TAG IN ('CREATE VIEW', 'ALTER VIEW', 'ALTER TABLE')
            EXECUTE FUNCTION stepping.views_change();
        CREATE EVENT TRIGGER stepping_refuse_rename ON ddl_command_end
            WHEN TAG IN ('ALTER TABLE')
            EXECUTE FUNCTION stepping.refuse_rename();
        CREATE EVENT TRIGGER stepping_refuse_rewrite ON table_rewrite
            EXECUTE FUNCTION stepping.refuse_rewrite();
    END IF;
END
$body$;
