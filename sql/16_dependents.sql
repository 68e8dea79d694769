-- What depends on a view, or is said of it, while another one comes in its place: the views that read it, directly or not,
-- owners, options, grants, comments and triggers. They are set aside as the statements that make them again, in a temporary table:
-- nobody else can put a statement into that, to be run with the rights of whoever changes a view.

-- What was given and said of a view, as the statements that do so again.
CREATE OR REPLACE FUNCTION stepping.said_of(view regclass) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog
AS $body$
    WITH object AS (
        SELECT c.oid, c.relacl, c.relowner, c.reloptions, concat(quote_ident(n.nspname), '.', quote_ident(c.relname)) AS name
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = view
    ), grants AS (
        SELECT object.name, acl.*, '' AS columns FROM object CROSS JOIN aclexplode(relacl) AS acl
        UNION ALL
        SELECT object.name, acl.*, concat(' (', quote_ident(a.attname), ')')
        FROM object JOIN pg_attribute AS a ON a.attrelid = object.oid CROSS JOIN aclexplode(a.attacl) AS acl
    )
    SELECT concat('ALTER VIEW ', name, ' OWNER TO ', relowner::regrole) FROM object
    UNION ALL
    SELECT concat('ALTER VIEW ', name, ' SET (', array_to_string(reloptions, ', '), ')') FROM object WHERE reloptions IS NOT NULL
    UNION ALL
    SELECT concat('REVOKE ALL ON ', name, ' FROM ', relowner::regrole) FROM object WHERE relacl IS NOT NULL
    UNION ALL
    SELECT concat('GRANT ', privilege_type, columns, ' ON ', name, ' TO ',
        CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
        CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
    FROM grants
    UNION ALL
    SELECT concat('COMMENT ON ', CASE d.objsubid WHEN 0 THEN concat('VIEW ', name)
        ELSE concat('COLUMN ', name, '.', quote_ident(a.attname)) END, ' IS ', quote_literal(d.description))
    FROM object JOIN pg_description AS d ON d.classoid = 'pg_class'::regclass AND d.objoid = object.oid
    LEFT JOIN pg_attribute AS a ON a.attrelid = object.oid AND a.attnum = d.objsubid AND d.objsubid > 0
$body$;

-- The views that read a view, directly or not, each after those that it reads.
CREATE OR REPLACE FUNCTION stepping.readers_of(view regclass) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog
AS $body$
    WITH RECURSIVE reader (oid, depth) AS (
        SELECT view::oid, 0
        UNION
        SELECT r.ev_class, reader.depth + 1
        FROM reader
        JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = reader.oid
            AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite AS r ON r.oid = d.objid AND r.ev_class <> reader.oid
    )
    SELECT oid::regclass FROM reader WHERE depth > 0 GROUP BY oid ORDER BY max(depth), oid::regclass::text
$body$;

-- Sets aside what depends on a view, and drops the views that read it. A materialized view is not made again: that is refused.
CREATE OR REPLACE FUNCTION stepping.set_dependents_aside(schema_name text, view_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog
AS $body$
#variable_conflict use_variable
DECLARE
    view regclass := to_regclass(concat(quote_ident(schema_name), '.', quote_ident(view_name)));
    reader regclass;
    readers regclass[] := ARRAY(SELECT stepping.readers_of(view));
BEGIN
    IF view IS NULL THEN
        RETURN;
    END IF;
    IF to_regclass('pg_temp.stepping_set_aside') IS NULL THEN
        CREATE TEMPORARY TABLE stepping_set_aside (
            schema_name text, view_name text, number integer GENERATED ALWAYS AS IDENTITY, reader text, statement text
        );
    END IF;
    IF EXISTS (
        SELECT FROM stepping.maintained_view AS v
        WHERE v.schema_name = schema_name AND v.view_name = view_name AND v.mode = 'deferred'
    ) THEN
        PERFORM stepping.set_dependents_aside(schema_name, concat(view_name, '_as_applied'));
    END IF;
    FOREACH reader IN ARRAY readers LOOP
        IF (SELECT relkind <> 'v' FROM pg_class WHERE oid = reader) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = concat(reader, ' reads ', view, ', which loses or changes a column'),
                HINT = 'drop it, change the view, and make it again';
        END IF;
    END LOOP;
    INSERT INTO pg_temp.stepping_set_aside (schema_name, view_name, statement)
    SELECT schema_name, view_name, said FROM stepping.said_of(view) AS said;
    FOREACH reader IN ARRAY readers LOOP
        INSERT INTO pg_temp.stepping_set_aside (schema_name, view_name, reader, statement)
        SELECT schema_name, view_name, reader::text, concat('CREATE VIEW ', reader,
            ' WITH (' || array_to_string(c.reloptions, ', ') || ')', ' AS ', pg_get_viewdef(reader))
        FROM pg_class AS c WHERE c.oid = reader
        UNION ALL
        SELECT schema_name, view_name, reader::text, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE tgrelid = reader AND NOT tgisinternal
        UNION ALL
        SELECT schema_name, view_name, reader::text, said FROM stepping.said_of(reader) AS said;
    END LOOP;
    FOR place IN REVERSE cardinality(readers) .. 1 LOOP
        EXECUTE concat('DROP VIEW ', readers[place]);
    END LOOP;
END
$body$;

-- Makes again what was set aside. What was said of a column that is gone is gone with it.
CREATE OR REPLACE FUNCTION stepping.put_dependents_back(schema_name text, view_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog
AS $body$
#variable_conflict use_variable
DECLARE
    aside record;
    message text;
BEGIN
    IF to_regclass('pg_temp.stepping_set_aside') IS NULL THEN
        RETURN;
    END IF;
    IF to_regclass(concat(quote_ident(schema_name), '.', quote_ident(view_name))) IS NULL THEN  -- _as_applied, in immediate mode
        DELETE FROM pg_temp.stepping_set_aside AS s
        WHERE s.schema_name = schema_name AND s.view_name = view_name AND s.reader IS NULL;
    END IF;
    FOR aside IN
        SELECT s.reader, s.statement FROM pg_temp.stepping_set_aside AS s
        WHERE s.schema_name = schema_name AND s.view_name = view_name ORDER BY s.number
    LOOP
        BEGIN
            EXECUTE aside.statement;
        EXCEPTION WHEN undefined_column OR undefined_function OR undefined_table OR datatype_mismatch OR wrong_object_type THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
            CONTINUE WHEN aside.reader IS NULL AND SQLSTATE = '42703';
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = concat('view ', aside.reader, ' needs what the new query does not have: ', message),
                HINT = 'change or drop that view first';
        END;
    END LOOP;
    DELETE FROM pg_temp.stepping_set_aside AS s WHERE s.schema_name = schema_name AND s.view_name = view_name;
    IF EXISTS (
        SELECT FROM pg_temp.stepping_set_aside AS s
        WHERE s.schema_name = schema_name AND s.view_name = concat(view_name, '_as_applied')
    ) THEN
        PERFORM stepping.put_dependents_back(schema_name, concat(view_name, '_as_applied'));
    END IF;
END
$body$;
