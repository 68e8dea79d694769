-- Taking views away, or what brings their changes to them.

-- Takes away what brings changes to some stages: triggers, their functions, and the tables where changes are set aside.
CREATE OR REPLACE FUNCTION stepping.stop_following(stages text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    follower record;
BEGIN
    FOR follower IN
        SELECT t.tgname, t.tgrelid::regclass AS source FROM unnest(stages) AS stage
        JOIN pg_trigger AS t ON t.tgfoid IN (
            to_regproc(concat('stepping.', quote_ident(stage || '__maintain'))),
            to_regproc(concat('stepping.', quote_ident(stage || '__capture')))
        )
        WHERE NOT t.tgisinternal
    LOOP
        EXECUTE concat('DROP TRIGGER ', quote_ident(follower.tgname), ' ON ', follower.source);
    END LOOP;
    PERFORM stepping.drop_functions(stages, '^__(maintain|vanish|capture)$');
    PERFORM stepping.drop_relations(stages, '^__(aside_[0-9]+|keys|reads_[0-9]+)$');
END
$body$;

-- Takes the logs of a view away, and what reads and applies them.
CREATE OR REPLACE FUNCTION stepping.drop_logs(stages text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM stepping.drop_functions(stages, '^__(pending|kept|apply|step)$');
    PERFORM stepping.drop_relations(stages, '^__(log|logged)_[0-9]+$');
END
$body$;

-- Drops the tables and views of some stages, by what their names end in.
CREATE OR REPLACE FUNCTION stepping.drop_relations(stages text[], endings text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    relation record;
BEGIN
    FOR relation IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind FROM unnest(stages) AS stage
        JOIN pg_class AS c ON starts_with(c.relname, stage) AND substr(c.relname, length(stage) + 1) ~ endings
        WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind IN ('r', 'v')
    LOOP
        EXECUTE concat('DROP ', relation.kind, ' ', relation.name);
    END LOOP;
END
$body$;

-- Drops the functions of some stages, by what their names end in.
CREATE OR REPLACE FUNCTION stepping.drop_functions(stages text[], endings text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid FROM unnest(stages) AS stage
        JOIN pg_proc AS p ON starts_with(p.proname, stage) AND substr(p.proname, length(stage) + 1) ~ endings
        WHERE p.pronamespace = 'stepping'::regnamespace
    LOOP
        EXECUTE concat('DROP FUNCTION ', function);
    END LOOP;
END
$body$;

-- Drops a maintained view with all that belongs to it; refuses while another maintained view reads it.
CREATE OR REPLACE FUNCTION stepping.drop_view(schema_name text, view_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    reader text;
    stages text[];
    mode text;
    belonging text;
BEGIN
    SELECT concat(v.schema_name, '.', v.view_name) INTO reader
    FROM stepping.maintained_view AS v
    WHERE concat(drop_view.schema_name, '.', drop_view.view_name) = ANY (v.reads)
    ORDER BY 1 LIMIT 1;
    IF reader IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = concat('maintained view ', reader, ' reads ', drop_view.schema_name, '.', drop_view.view_name),
            HINT = 'Drop that view first.';
    END IF;
    DELETE FROM stepping.maintained_view AS v
    WHERE v.schema_name = drop_view.schema_name AND v.view_name = drop_view.view_name
    RETURNING v.stages, v.mode INTO stages, mode;
    IF stages IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_table',
            MESSAGE = concat('there is no maintained view ', drop_view.schema_name, '.', drop_view.view_name);
    END IF;
    EXECUTE concat('DROP VIEW IF EXISTS ', quote_ident(drop_view.schema_name), '.', quote_ident(drop_view.view_name));
    IF mode = 'deferred' THEN
        EXECUTE concat(
            'DROP VIEW IF EXISTS ', quote_ident(drop_view.schema_name), '.', quote_ident(drop_view.view_name || '_as_applied')
        );
    END IF;
    FOR belonging IN
        SELECT c.relname FROM pg_class AS c JOIN unnest(stages) AS stage ON c.relname ~ concat('^', stage, '__before_[0-9]+$')
        WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind = 'v'
    LOOP
        EXECUTE concat('DROP VIEW stepping.', quote_ident(belonging));
    END LOOP;
    PERFORM stepping.stop_following(stages);
    PERFORM stepping.unfollow_tables();
    PERFORM stepping.drop_logs(stages);
    FOR belonging IN
        SELECT c.relname FROM unnest(stages) AS stage
        JOIN pg_class AS c ON c.relname ~ concat('^', stage, '(__changes|__row_[0-9]+)?$')
        WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind = 'r'
    LOOP
        EXECUTE concat('DROP TABLE stepping.', quote_ident(belonging));
    END LOOP;
    PERFORM stepping.drop_functions(stages, '^__(gather|record|(insert|remove|replace)_[0-9a-f]+)$');
    PERFORM stepping.drop_uncalled();
END
$body$;
