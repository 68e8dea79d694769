-- A new version of a view in place of the one that is there: what reads the view, its owner, grants, options and comments stay.

-- What the owner of a published view lacks to read what is below it, as GRANTs: who reads the view reads with his rights.
CREATE OR REPLACE FUNCTION stepping.owner_lacks(view regclass) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT DISTINCT concat('GRANT SELECT ON ', d.refobjid::regclass, ' TO ', quote_ident(pg_get_userbyid(c.relowner)))
    FROM pg_class AS c
    JOIN pg_rewrite AS r ON r.ev_class = c.oid
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class AS s ON s.oid = d.refobjid AND s.relnamespace = 'stepping'::regnamespace
    WHERE c.oid = view AND NOT has_table_privilege(c.relowner, s.oid, 'SELECT') AND NOT EXISTS (
        SELECT FROM pg_options_to_table(c.reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean
    )
$body$;

-- Lets the owner of a published view, who may be another than that of its state, read what is below it.
CREATE OR REPLACE FUNCTION stepping.let_owner_read(view regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    lacking text;
BEGIN
    FOR lacking IN SELECT stepping.owner_lacks(view) LOOP
        EXECUTE lacking;
    END LOOP;
END
$body$;

-- Gives a view the definition of another one, which goes.
CREATE OR REPLACE FUNCTION stepping.put_view_in_place(schema_name text, view_name text, other_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog
AS $body$
DECLARE
    view text := concat(quote_ident(schema_name), '.', quote_ident(view_name));
    other text := concat(quote_ident(schema_name), '.', quote_ident(other_name));
    options text := (
        SELECT concat('(', array_to_string(c.reloptions, ', '), ')') FROM pg_class AS c
        WHERE c.oid = view::regclass AND c.reloptions IS NOT NULL
    );
BEGIN
    BEGIN
        EXECUTE concat('CREATE OR REPLACE VIEW ', view, ' WITH ' || options, ' AS ', pg_get_viewdef(other::regclass));
        EXECUTE concat('DROP VIEW ', other);
    EXCEPTION WHEN invalid_table_definition THEN  -- a column goes, or has another name or type
        PERFORM stepping.set_dependents_aside(schema_name, view_name);
        EXECUTE concat('DROP VIEW ', view);
        EXECUTE concat('ALTER VIEW ', other, ' RENAME TO ', quote_ident(view_name));
        PERFORM stepping.put_dependents_back(schema_name, view_name);
    END;
    PERFORM stepping.let_owner_read(view::regclass);
END
$body$;

DO $body$
BEGIN
    IF to_regprocedure('stepping.expect(text, text, text, text[])') IS NOT NULL THEN
        DROP FUNCTION stepping.expect(text, text, text, text[]);  -- of a catalog from before it knew modes
    END IF;
END
$body$;

-- Fails unless a maintained view is the one that a migration changes, and the maintained views that read it are among `anew`,
-- which the migration makes anew (NULL: they may stay).
CREATE OR REPLACE FUNCTION stepping.expect(
    schema_name text, view_name text, fingerprint text, anew text[], mode text DEFAULT 'immediate'
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    reader text := (
        SELECT concat(v.schema_name, '.', v.view_name) FROM stepping.maintained_view AS v
        WHERE concat(expect.schema_name, '.', expect.view_name) = ANY (v.reads)
          AND NOT concat(v.schema_name, '.', v.view_name) = ANY (expect.anew)
        ORDER BY 1 LIMIT 1
    );
BEGIN
    IF NOT EXISTS (
        SELECT FROM stepping.maintained_view AS v
        WHERE v.schema_name = expect.schema_name AND v.view_name = expect.view_name
          AND v.fingerprint = expect.fingerprint AND v.mode = expect.mode
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = concat('view ', expect.schema_name, '.', expect.view_name, ' is not the one that this migration changes'),
            HINT = 'It was changed by other means: mark the migration as applied, or generate it again.';
    END IF;
    IF reader IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = concat('maintained view ', reader, ' reads ', expect.schema_name, '.', expect.view_name, ', which changes'),
            HINT = 'Declare that view, too, or use pg-stepping change.';
    END IF;
END
$body$;

-- Fails if a view whose state is to be kept may be wrong.
CREATE OR REPLACE FUNCTION stepping.expect_in_step(schema_name text, view_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    problem text := (
        SELECT stepping.problem(v) FROM stepping.maintained_view AS v
        WHERE v.schema_name = expect_in_step.schema_name AND v.view_name = expect_in_step.view_name
    );
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = concat('view ', expect_in_step.schema_name, '.', expect_in_step.view_name, ' may be wrong: ', problem),
            HINT = 'Repair it, or drop it and make it again; then migrate.';
    END IF;
END
$body$;

-- Drops a view that a new version has taken the place of, but for what is published; then the new state tables, `beside`,
-- get the names `stages`. Whoever calls it keeps writers out, until triggers bring their changes to the new state.
CREATE OR REPLACE FUNCTION stepping.replace_state(schema_name text, view_name text, beside text[], stages text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $body$
#variable_conflict use_column
DECLARE
    old text := concat('__old ', md5(replace_state.view_name));  -- no relation has that name
    named record;
BEGIN
    INSERT INTO stepping.maintained_view
    SELECT (jsonb_populate_record(v, jsonb_build_object('view_name', old))).* FROM stepping.maintained_view AS v
    WHERE v.schema_name = replace_state.schema_name AND v.view_name = replace_state.view_name;
    DELETE FROM stepping.maintained_view AS v
    WHERE v.schema_name = replace_state.schema_name AND v.view_name = replace_state.view_name;
    PERFORM stepping.drop_view(replace_state.schema_name, old);
    FOR place IN 1 .. cardinality(beside) LOOP
        FOR named IN
            SELECT 'ALTER INDEX stepping.' AS what, '' AS part, c.relname AS name
            FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
            WHERE i.indrelid = concat('stepping.', quote_ident(beside[place]))::regclass AND starts_with(c.relname, beside[place])
            UNION ALL
            SELECT concat('ALTER TABLE stepping.', quote_ident(beside[place])), ' CONSTRAINT ', k.conname
            FROM pg_constraint AS k
            WHERE k.conrelid = concat('stepping.', quote_ident(beside[place]))::regclass AND k.contype = 'c'
              AND starts_with(k.conname, beside[place])
        LOOP
            EXECUTE concat(
                named.what, CASE named.part WHEN '' THEN quote_ident(named.name) END, ' RENAME', named.part,
                CASE named.part WHEN '' THEN '' ELSE quote_ident(named.name) END, ' TO ',
                quote_ident(concat(stages[place], substr(named.name, 1 + length(beside[place]))))
            );
        END LOOP;
        EXECUTE concat('ALTER TABLE stepping.', quote_ident(beside[place]), ' RENAME TO ', quote_ident(stages[place]));
    END LOOP;
END
$body$;

-- Drops the index of a state table that looks like one made ON it by this, as in (a, (b + c)).
CREATE OR REPLACE FUNCTION stepping.drop_index(stage text, made text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    own regclass := concat('stepping.', quote_ident(stage));
    looks text;
    found regclass;
BEGIN
    EXECUTE concat('CREATE TEMPORARY TABLE stepping_probe (LIKE ', own, ')');
    EXECUTE concat('CREATE INDEX ON pg_temp.stepping_probe ', made);
    SELECT regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE INDEX .* USING ', '') INTO looks
    FROM pg_index AS i WHERE i.indrelid = 'pg_temp.stepping_probe'::regclass;
    DROP TABLE pg_temp.stepping_probe;
    SELECT i.indexrelid::regclass INTO found FROM pg_index AS i
    WHERE i.indrelid = own AND NOT i.indisunique
      AND regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE INDEX .* USING ', '') = looks
    ORDER BY i.indexrelid DESC LIMIT 1;
    IF found IS NOT NULL THEN
        EXECUTE concat('DROP INDEX ', found);
    END IF;
END
$body$;
