-- What a view was made from: is that still what it was?

-- What a view was made from and cannot be followed by a trigger on a table. No key: pg_restore fills it beside the trigger.
CREATE TABLE IF NOT EXISTS stepping.used (
    schema_name text NOT NULL, view_name text NOT NULL, kind text NOT NULL, object text NOT NULL, definition text NOT NULL
);

COMMENT ON TABLE stepping.used IS
'The tables that maintained views read, and the functions, operators and enums that they use, with their definitions then.';

CREATE TABLE IF NOT EXISTS stepping.suspect (
    schema_name text NOT NULL, view_name text NOT NULL, reason text NOT NULL, since timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE stepping.suspect IS
'Maintained views of which a source table was written while their triggers did not fire; repair empties it.';

-- The definition of a function, or the labels of an enum: what a view relies on.
CREATE OR REPLACE FUNCTION stepping.definition(kind text, object text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RETURN CASE kind
        WHEN 'function' THEN (
            SELECT CASE p.prokind
                WHEN 'a' THEN (SELECT md5((a.aggtransfn, a.aggfinalfn, a.agginitval)::text) FROM pg_aggregate AS a WHERE a.aggfnoid = p.oid)
                ELSE md5(pg_get_functiondef(p.oid)) END
            FROM pg_proc AS p WHERE p.oid = to_regprocedure(object)
        )
        WHEN 'enum' THEN (
            SELECT array_agg(e.enumlabel ORDER BY e.oid)::text FROM pg_enum AS e WHERE e.enumtypid = to_regtype(object)
        )
        WHEN 'table' THEN to_regclass(object)::text
        WHEN 'row' THEN (
            SELECT array_agg(concat(a.attname, ' ', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)::text
            FROM pg_attribute AS a WHERE a.attrelid = to_regclass(object) AND a.attnum > 0 AND NOT a.attisdropped
        )
        WHEN 'columns' THEN (  -- held under their names
            SELECT 'held' FROM pg_class AS c
            WHERE c.oid = to_regclass(object) AND c.relkind = 'v'
                AND regexp_replace(pg_get_viewdef(c.oid), '"([^"]|"")*"', '', 'g') !~ '\mAS\M'
        )
        -- of the table and columns {table,column,...}: a key, and a column without NULLs
        WHEN 'key' THEN (
            SELECT 'unique' FROM pg_index AS i
            WHERE i.indrelid = to_regclass((object::text[])[1]) AND i.indisunique AND i.indimmediate AND i.indisvalid
                AND i.indpred IS NULL AND (object::text[])[2:] = ARRAY(
                    SELECT a.attname::text
                    FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, place)
                    LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
                    WHERE k.place <= i.indnkeyatts ORDER BY 1
                )
            LIMIT 1
        )
        WHEN 'not null' THEN (
            SELECT 'not null' FROM pg_attribute AS a
            WHERE a.attrelid = to_regclass((object::text[])[1]) AND a.attname = (object::text[])[2] AND a.attnotnull
        )
    END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$body$;

-- Notes what a new view is made from, or one that was changed in place or brought to another mode; what was noted stays as it
-- was then. The query is canonical: a function of the user's stands there with its schema.
CREATE OR REPLACE FUNCTION stepping.note_used() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS $body$
DECLARE
    called oid[];  -- functions of the user
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM stepping.used AS u WHERE (u.schema_name, u.view_name) = (OLD.schema_name, OLD.view_name);
        DELETE FROM stepping.suspect AS u WHERE (u.schema_name, u.view_name) = (OLD.schema_name, OLD.view_name);
        RETURN NULL;
    END IF;
    called := ARRAY(  -- by the query
        SELECT p.oid
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'stepping') AND (
            position(concat(quote_ident(n.nspname), '.', quote_ident(p.proname), '(') IN NEW.query) > 0
            OR EXISTS (
                SELECT FROM pg_operator AS o JOIN pg_namespace AS s ON s.oid = o.oprnamespace
                WHERE o.oprcode = p.oid AND position(concat('OPERATOR(', quote_ident(s.nspname), '.', o.oprname, ')') IN NEW.query) > 0
            )
            OR EXISTS (
                SELECT FROM pg_cast AS c
                WHERE c.castfunc = p.oid AND position(concat('::', format_type(c.casttarget, NULL)) IN NEW.query) > 0
            )
        )
    );
    IF called <> '{}' THEN  -- or by what it calls; the parts of aggregates too
        called := ARRAY(
            WITH RECURSIVE calls (oid) AS (
                SELECT unnest(called)
                UNION
                SELECT p.oid
                FROM calls
                JOIN pg_proc AS c ON c.oid = calls.oid
                LEFT JOIN pg_aggregate AS g ON g.aggfnoid = c.oid
                JOIN pg_proc AS p ON p.oid IN (
                    g.aggtransfn, g.aggfinalfn, g.aggcombinefn, g.aggserialfn, g.aggdeserialfn, g.aggmtransfn, g.aggminvtransfn, g.aggmfinalfn
                ) OR EXISTS (
                    SELECT FROM pg_depend AS d
                    WHERE (d.classid, d.objid, d.refclassid, d.refobjid) = ('pg_proc'::regclass, c.oid, 'pg_proc'::regclass, p.oid)
                ) OR c.prosrc ~ concat('\m', regexp_replace(p.proname, '(\W)', '\\\1', 'g'), '"?\s*\(')
                JOIN pg_namespace AS n ON n.oid = p.pronamespace AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'stepping')
            )
            SELECT oid FROM calls
        );
    END IF;
    WITH RECURSIVE typed (oid) AS (  -- the types of its columns and of those that it reads, and what these are made of
        SELECT a.atttypid
        FROM unnest(NEW.stages) AS stage
        JOIN pg_class AS c ON c.relnamespace = 'stepping'::regnamespace
            AND c.relname ~ concat('^', stage, '(__(aside|log|row)_[0-9]+)?$')
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        UNION
        SELECT part.oid
        FROM typed JOIN pg_type AS t ON t.oid = typed.oid
        CROSS JOIN LATERAL (
            VALUES (t.typelem), (t.typbasetype)
            UNION ALL
            SELECT rngsubtype FROM pg_range WHERE t.oid IN (rngtypid, rngmultitypid)
            UNION ALL
            SELECT atttypid FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0
        ) AS part (oid)
    ), found (kind, object) AS (
        SELECT 'function', oid::regprocedure::text FROM unnest(called) AS oid
        UNION
        SELECT 'enum', t.oid::regtype::text FROM pg_type AS t WHERE t.oid IN (SELECT oid FROM typed) AND t.typtype = 'e'
        UNION
        SELECT 'row', t.typrelid::regclass::text FROM pg_type AS t WHERE t.oid IN (SELECT oid FROM typed) AND t.typtype = 'c'
        UNION
        SELECT 'columns', held::text FROM stepping.holding(NEW.stages) AS held
        UNION
        SELECT 'table', t.tgrelid::regclass::text
        FROM unnest(NEW.stages) AS stage
        JOIN pg_trigger AS t ON t.tgfoid = to_regproc(concat('stepping.', quote_ident(stage || '__maintain')))
            AND encode(t.tgargs, 'escape') !~ 'part\\000$'
        JOIN pg_class AS c ON c.oid = t.tgrelid AND c.relnamespace <> 'stepping'::regnamespace
        UNION  -- what the plan may rely on: the keys whose columns it reads, and which of these are never NULL
        SELECT fact.kind, array_prepend(r.source, fact.columns)::text
        FROM (
            SELECT t.tgrelid, t.tgrelid::regclass::text AS source, array_agg(DISTINCT c.attname::text) AS columns
            FROM unnest(NEW.stages) AS stage
            JOIN pg_trigger AS t ON t.tgfoid = to_regproc(concat('stepping.', quote_ident(stage || '__maintain')))
            JOIN pg_class AS s ON s.oid = t.tgrelid AND s.relkind = 'r' AND s.relnamespace <> 'stepping'::regnamespace
            JOIN pg_class AS a ON a.relnamespace = 'stepping'::regnamespace
                AND (starts_with(a.relname, stage || '__aside_') OR starts_with(a.relname, stage || '__log_'))
            JOIN pg_attribute AS u ON u.attrelid = a.oid AND u.attnum > 0
            JOIN pg_attribute AS c ON c.attrelid = t.tgrelid AND c.attname = u.attname
            GROUP BY t.tgrelid
        ) AS r
        CROSS JOIN LATERAL (
            SELECT 'key', k.columns
            FROM pg_index AS i
            CROSS JOIN LATERAL (
                SELECT array_agg(a.attname::text ORDER BY a.attname::text) AS columns
                FROM pg_attribute AS a
                WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::smallint[])[0 : i.indnkeyatts - 1])
            ) AS k
            WHERE i.indrelid = r.tgrelid AND i.indisunique AND k.columns <@ r.columns
            UNION ALL
            SELECT 'not null', ARRAY[a.attname::text]
            FROM pg_attribute AS a WHERE a.attrelid = r.tgrelid AND a.attname = ANY (r.columns) AND a.attnotnull
        ) AS fact (kind, columns)
    ), gone AS (
        DELETE FROM stepping.used AS u
        WHERE TG_OP = 'UPDATE' AND (u.schema_name, u.view_name) = (NEW.schema_name, NEW.view_name)
          AND (u.kind, u.object) NOT IN (SELECT kind, object FROM found)
    )
    INSERT INTO stepping.used
    SELECT NEW.schema_name, NEW.view_name, found.kind, found.object, d.definition
    FROM found CROSS JOIN LATERAL stepping.definition(found.kind, found.object) AS d (definition)
    WHERE d.definition IS NOT NULL AND NOT EXISTS (
        SELECT FROM stepping.used AS u
        WHERE (u.schema_name, u.view_name, u.kind, u.object) = (NEW.schema_name, NEW.view_name, found.kind, found.object)
    );
    RETURN NULL;
END
$body$;

-- Notes what holds the columns of a view whose triggers came after it was noted. Only an owner of its state can say so.
CREATE OR REPLACE FUNCTION stepping.note_columns(schema_name text, view_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_variable
DECLARE
    stages text[] := (
        SELECT v.stages FROM stepping.maintained_view AS v
        WHERE (v.schema_name, v.view_name) = (schema_name, view_name) AND EXISTS (
            SELECT FROM pg_class AS c
            WHERE c.oid = to_regclass(concat('stepping.', quote_ident(v.stages[1]))) AND pg_has_role(session_user, c.relowner, 'MEMBER')
        )
    );
BEGIN
    IF stages IS NOT NULL THEN
        DELETE FROM stepping.used AS u WHERE (u.schema_name, u.view_name, u.kind) = (schema_name, view_name, 'columns');
        INSERT INTO stepping.used SELECT schema_name, view_name, 'columns', held::text, 'held' FROM stepping.holding(stages) AS held;
    END IF;
END
$body$;
