-- A maintained view that reads an ordinary one was made from its definition, so that may not become another. Event
-- triggers see to it, where a superuser could make them; elsewhere verify tells.

DO $body$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;

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

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'stepping_views_change') THEN
        CREATE EVENT TRIGGER stepping_views_change ON ddl_command_end
            WHEN TAG IN ('CREATE VIEW', 'ALTER VIEW', 'ALTER TABLE')
            EXECUTE FUNCTION stepping.views_change();
    END IF;
END
$body$;
