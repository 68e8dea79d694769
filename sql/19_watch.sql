-- Is a view still what it was made to be? What may have passed its triggers by, and the views that tell operators of it:
-- stepping.views and stepping.stat_views.

-- Triggers with these functions belong on tables of the catalog alone: another table could have columns of types of which
-- a cast runs its owner's code.
REVOKE ALL ON FUNCTION stepping.note_used(), stepping.refuse_leftovers(), stepping.apply_overdue() FROM PUBLIC;

-- A source table was written where only replica triggers fire: by logical replication, or by hand.
CREATE OR REPLACE FUNCTION stepping.note_replica() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM stepping.suspect(TG_RELID::regclass, 'was written with session_replication_role = replica, or by logical replication');
    RETURN NULL;
END
$body$;

-- It costs next to nothing where it does not fire. It comes when a table has all other triggers: ALTER TABLE is DDL, too.
CREATE OR REPLACE FUNCTION stepping.follow_replica(followed regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF EXISTS (
        SELECT FROM pg_class AS c
        WHERE c.oid = followed AND c.relkind = 'r' AND c.relnamespace <> 'stepping'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'stepping_replica')
    ) THEN
        EXECUTE concat(
            'CREATE TRIGGER stepping_replica AFTER INSERT OR UPDATE OR DELETE ON ', followed,
            ' FOR EACH ROW EXECUTE FUNCTION stepping.note_replica()'
        );
        EXECUTE concat(
            'CREATE TRIGGER stepping_replica_truncate AFTER TRUNCATE ON ', followed,
            ' FOR EACH STATEMENT EXECUTE FUNCTION stepping.note_replica()'
        );
        EXECUTE concat(
            'ALTER TABLE ', followed, ' ENABLE REPLICA TRIGGER stepping_replica, ENABLE REPLICA TRIGGER stepping_replica_truncate'
        );
    END IF;
END
$body$;

CREATE OR REPLACE FUNCTION stepping.suspect(source regclass, why text) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $body$
    INSERT INTO stepping.suspect
    SELECT v.schema_name, v.view_name, concat(source, ' ', why)
    FROM stepping.maintained_view AS v
    WHERE EXISTS (
        SELECT FROM pg_trigger AS t JOIN unnest(v.stages) AS stage
            ON t.tgfoid = to_regproc(concat('stepping.', quote_ident(stage || '__maintain')))
        WHERE t.tgrelid = source
    ) AND NOT EXISTS (
        SELECT FROM stepping.suspect AS s
        WHERE (s.schema_name, s.view_name) = (v.schema_name, v.view_name) AND s.reason <> 'is being filled online'
    )
$body$;

-- Which fault, mended since, the text of a view has that an older version made; NULL for one that has none. Each mended
-- fault is a line here: the version of the text that has it no more, and which views it concerns.
CREATE OR REPLACE FUNCTION stepping.fault(of stepping.maintained_view) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    WITH looks_different AS (  -- columns of the state of which equal values may look different, as 1.0 and 1.00 do
        SELECT EXISTS (
            SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisunique AND a.attnum = ANY (i.indkey)
        ) AS is_key
        FROM unnest(of.stages) AS stage
        JOIN pg_class AS c ON c.oid = to_regclass(concat('stepping.', quote_ident(stage)))
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_type AS t ON t.oid = a.atttypid
        LEFT JOIN pg_collation AS l ON l.oid = a.attcollation
        WHERE NOT coalesce(l.collisdeterministic, true) OR NOT (
            t.typtype = 'e' OR (t.typname IN ('numeric', 'bpchar') AND t.typnamespace = 'pg_catalog'::regnamespace AND a.atttypmod > 0)
            OR t.oid = ANY ('{bool,int2,int4,int8,oid,text,varchar,name,"\"char\"",date,timestamp,timestamptz,time,uuid,bytea}'::regtype[])
        )
    )
    SELECT concat('was made by an older version, ', f.says, '; pg-stepping change makes it anew')
    FROM (VALUES
        (
            1, of.query ~* '\mrecursive\M.*\munion\M(?!\s+all)' AND EXISTS (SELECT FROM looks_different),
            'whose recursions may show rows that are equal and look different (1.0, 1.00) as two'
        ),
        (
            1, of.mode = 'deferred' AND cardinality(of.stages) > 1 AND EXISTS (SELECT FROM looks_different WHERE is_key),
            'which may count wrong, in deferred mode, over groups whose keys are equal and look different (1.0, 1.00)'
        ),
        (
            1, of.query ~* '\musing \(' AND of.query ~* '\mlateral\M|\m(from|join)\M[\s(]*[\w."]+\(',
            'whose joins by USING or NATURAL with LATERAL subqueries or rows of functions may lack their condition'
        )
    ) AS f (mended, concerned, says)
    WHERE of.text_version < f.mended AND f.concerned LIMIT 1
$body$;

-- What is wrong with a view by itself, whatever its tables are: with what it publishes, and its state.
CREATE OR REPLACE FUNCTION stepping.own_problem(of stepping.maintained_view) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    view regclass := to_regclass(concat(quote_ident(of.schema_name), '.', quote_ident(of.view_name)));
    published text := concat('stepping.', quote_ident(of.stages[cardinality(of.stages)]));
    found text;
BEGIN
    IF view IS NULL THEN
        RETURN 'the published view is gone';
    END IF;
    SELECT concat('the state table stepping.', stage, ' is gone') INTO found
    FROM unnest(of.stages) AS stage WHERE to_regclass(concat('stepping.', quote_ident(stage))) IS NULL LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_rewrite AS r
        JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
        WHERE r.ev_class = view AND d.refobjid = published::regclass
    ) THEN
        RETURN 'the published view was replaced';
    END IF;
    SELECT 'its owner may not read its state: ' || string_agg(g.sql, '; ') INTO found FROM stepping.owner_lacks(view) AS g (sql);
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT concat('its triggers run as ', o.name, ', who may not read ', u.object, ', so writers fail: ', CASE
        WHEN has_any_column_privilege(p.proowner, c.oid, 'SELECT') THEN concat('GRANT USAGE ON SCHEMA ', c.relnamespace::regnamespace)
        ELSE concat('GRANT SELECT ON ', u.object) END, ' TO ', o.name) INTO found
    FROM stepping.used AS u
    JOIN pg_class AS c ON c.oid = to_regclass(u.object)
    JOIN pg_proc AS p ON p.oid = to_regproc(concat('stepping.', quote_ident(of.stages[cardinality(of.stages)] || '__maintain')))
    CROSS JOIN LATERAL (SELECT quote_ident(pg_get_userbyid(p.proowner)) AS name) AS o
    WHERE (u.schema_name, u.view_name, u.kind) = (of.schema_name, of.view_name, 'table') AND NOT (
        has_any_column_privilege(p.proowner, c.oid, 'SELECT') AND has_schema_privilege(p.proowner, c.relnamespace, 'USAGE')
    ) ORDER BY u.object LIMIT 1;
    RETURN found;
END
$body$;

-- Why a view is not, or may not be, what its query gives; NULL if nothing speaks against it.
CREATE OR REPLACE FUNCTION stepping.problem(of stepping.maintained_view) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off
AS $body$
#variable_conflict use_column
DECLARE
    functions oid[] := ARRAY(
        SELECT to_regproc(concat('stepping.', quote_ident(stage || '__maintain')))::oid FROM unnest(of.stages) AS stage
    );
    found text;
    message text;
BEGIN
    found := stepping.own_problem(of);
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT concat('trigger ', t.tgname, ' on ', t.tgrelid::regclass, ' is disabled') INTO found
    FROM pg_trigger AS t
    WHERE t.tgenabled IN ('D', 'R') AND (t.tgfoid = ANY (functions) OR (
        t.tgname IN ('stepping_open', 'stepping_close')
        AND t.tgrelid IN (SELECT f.tgrelid FROM pg_trigger AS f WHERE f.tgfoid = ANY (functions))
    )) ORDER BY 1 LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    IF position(';' IN of.query) = 0 THEN  -- one statement, which is read and not planned: nothing of it runs
        BEGIN
            EXECUTE concat('PREPARE "stepping probe" AS ', of.query);
            DEALLOCATE "stepping probe";
        EXCEPTION WHEN syntax_error_or_access_rule_violation THEN
            GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
            IF SQLSTATE <> '42501' THEN
                RETURN concat('its query fails: ', message);
            END IF;
        END;
    END IF;
    SELECT concat('its triggers on ', u.object, ' are gone') INTO found
    FROM stepping.used AS u
    WHERE (u.schema_name, u.view_name, u.kind) = (of.schema_name, of.view_name, 'table') AND NOT EXISTS (
        SELECT FROM pg_trigger AS t WHERE t.tgrelid = to_regclass(u.object) AND t.tgfoid = ANY (functions)
    ) ORDER BY 1 LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT concat('some of its triggers on ', t.tgrelid::regclass, ' are gone') INTO found
    FROM pg_trigger AS t
    JOIN pg_class AS c ON c.oid = t.tgrelid AND c.relnamespace <> 'stepping'::regnamespace
    JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE t.tgfoid = ANY (functions)
    GROUP BY t.tgrelid, t.tgfoid, p.proname, t.tgargs
    HAVING bit_or(t.tgtype::integer) & 28 < 28  -- INSERT, DELETE and UPDATE; TRUNCATE of a part has a trigger of its own
        OR bit_or(t.tgtype::integer) & 32 = 0 AND NOT EXISTS (
            SELECT FROM pg_trigger AS o WHERE o.tgrelid = t.tgrelid AND o.tgname = 'stepping_part'
        )
        OR NOT stepping.has_logs(left(p.proname, -length('__maintain'))) AND 2 > (
            SELECT count(*) FROM pg_trigger AS o WHERE o.tgrelid = t.tgrelid AND o.tgname IN ('stepping_open', 'stepping_close')
        )
    ORDER BY 1 LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT concat(t.tgrelid::regclass, ' has got children, or become part of another table') INTO found
    FROM pg_trigger AS t JOIN pg_inherits AS i ON t.tgrelid IN (i.inhrelid, i.inhparent)
    WHERE t.tgfoid = ANY (functions) AND t.tgnargs < 4  -- it is followed alone
    ORDER BY 1 LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT concat('row security of ', c.oid::regclass, ' hides rows from ', r.rolname, ', whose rights the view has') INTO found
    FROM pg_trigger AS t
    JOIN pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_roles AS r ON r.oid = p.proowner
    JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE t.tgfoid = ANY (functions) AND c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
        AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
    ORDER BY 1 LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT concat('column ', c.attname, ' of ', t.tgrelid::regclass, ' has another type') INTO found
    FROM pg_trigger AS t
    JOIN pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_class AS a ON a.relnamespace = p.pronamespace AND (
        starts_with(a.relname, left(p.proname, -length('maintain')) || 'aside_')
        OR starts_with(a.relname, left(p.proname, -length('maintain')) || 'log_')
    )
    JOIN pg_attribute AS u ON u.attrelid = a.oid AND u.attnum > 0
    JOIN pg_attribute AS c ON c.attrelid = t.tgrelid AND c.attname = u.attname
    WHERE t.tgfoid = ANY (functions) AND NOT EXISTS (SELECT FROM stepping.holding(of.stages))
    GROUP BY t.tgrelid, t.tgfoid, c.attname
    HAVING NOT bool_or((c.atttypid, c.atttypmod, c.attcollation) = (u.atttypid, u.atttypmod, u.attcollation))
    ORDER BY 1 LIMIT 1;
    IF found IS NOT NULL THEN
        RETURN found;
    END IF;
    SELECT concat(
        CASE WHEN u.kind IN ('key', 'not null') THEN concat(
            CASE u.kind WHEN 'key' THEN 'the unique key (' ELSE 'NOT NULL of (' END,
            array_to_string((u.object::text[])[2:], ', '), ') of ', (u.object::text[])[1]
        ) WHEN u.kind = 'columns' THEN concat('what ', u.object, ' reads') ELSE concat(u.kind, ' ', u.object) END,
        ' is not as it was when the view was made'
    ) INTO found
    FROM stepping.used AS u CROSS JOIN LATERAL stepping.definition(u.kind, u.object) AS now (definition)
    WHERE (u.schema_name, u.view_name) = (of.schema_name, of.view_name) AND u.kind <> 'table' AND CASE u.kind
        WHEN 'enum' THEN NOT u.definition::text[] <@ coalesce(now.definition::text[], '{}')
        ELSE u.definition IS DISTINCT FROM now.definition END
    ORDER BY 1 LIMIT 1;
    IF found IS NULL THEN
        SELECT concat('view ', read ->> 0, '.', read ->> 1, ' is not as it was when this one was made') INTO found
        FROM jsonb_array_elements(of.expands) AS read
        WHERE rtrim(btrim(pg_get_viewdef(to_regclass(
            concat(quote_ident(read ->> 0), '.', quote_ident(read ->> 1))
        )), E' \n'), ';') IS DISTINCT FROM read ->> 2
        ORDER BY 1 LIMIT 1;
    END IF;
    IF found IS NULL THEN
        SELECT concat(s.reason, ' since ', s.since::timestamptz(0)) INTO found FROM stepping.suspect AS s
        WHERE (s.schema_name, s.view_name) = (of.schema_name, of.view_name) LIMIT 1;
    END IF;
    RETURN coalesce(found, stepping.fault(of));
END
$body$;

-- One row a maintained view: how it stands.
CREATE OR REPLACE VIEW stepping.views AS
SELECT
    v.schema_name,
    v.view_name,
    CASE WHEN p.problem IS NULL THEN 'in step' ELSE 'out of step' END AS state,
    v.language,
    s.size,
    s.rows,
    pg_catalog.now() OPERATOR(pg_catalog.-) v.created_at AS age,
    v.fingerprint,
    p.problem IS NULL AS in_step,
    p.problem
FROM stepping.maintained_view AS v
CROSS JOIN LATERAL stepping.problem(v) AS p (problem)
CROSS JOIN LATERAL (
    SELECT
        pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid))::bigint AS size,
        pg_catalog.max(CASE WHEN c.relname OPERATOR(pg_catalog.=) v.stages[pg_catalog.cardinality(v.stages)]
            THEN pg_catalog.pg_stat_get_live_tuples(c.oid) END) AS rows
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace OPERATOR(pg_catalog.=) 'stepping'::pg_catalog.regnamespace
        AND c.relname::text OPERATOR(pg_catalog.=) ANY (v.stages)
) AS s;

COMMENT ON VIEW stepping.views IS
'How each maintained view stands: size in bytes of its state with indexes, rows as estimated, and why it may be out of step.';

-- One row a maintained view: what its maintenance did, from what Postgres counts anyway. Nothing is written for it.
CREATE OR REPLACE VIEW stepping.stat_views AS
SELECT
    v.schema_name,
    v.view_name,
    f.calls,
    i.delta_rows_in,
    o.delta_rows_out,
    f.total_time,
    f.self_time,
    p.problem AS last_error,
    l.lock_waits,
    d.pending,
    d.age AS pending_age,
    d.applied_at,
    d.times AS apply_calls,
    d.all_changes AS apply_rows,
    d.all_seconds OPERATOR(pg_catalog.*) 1000 AS apply_time
FROM stepping.maintained_view AS v
LEFT JOIN stepping.pending() AS d
    ON d.schema_name OPERATOR(pg_catalog.=) v.schema_name AND d.view_name OPERATOR(pg_catalog.=) v.view_name
CROSS JOIN LATERAL stepping.problem(v) AS p (problem)
CROSS JOIN LATERAL (
    SELECT pg_catalog.sum(s.calls)::bigint AS calls, pg_catalog.sum(s.total_time) AS total_time, pg_catalog.sum(s.self_time) AS self_time
    FROM pg_catalog.unnest(v.stages) AS stage
    JOIN pg_catalog.pg_stat_user_functions AS s
        ON s.schemaname OPERATOR(pg_catalog.=) 'stepping' AND s.funcname::text OPERATOR(pg_catalog.=) (stage OPERATOR(pg_catalog.||) '__maintain')
) AS f
CROSS JOIN LATERAL (
    SELECT pg_catalog.sum(s.n_tup_ins OPERATOR(pg_catalog.+) s.n_tup_upd OPERATOR(pg_catalog.+) s.n_tup_del)::bigint AS delta_rows_in
    FROM stepping.used AS u
    CROSS JOIN LATERAL stepping.family(pg_catalog.to_regclass(u.object)) AS member
    JOIN pg_catalog.pg_stat_user_tables AS s ON s.relid OPERATOR(pg_catalog.=) member
    WHERE u.schema_name OPERATOR(pg_catalog.=) v.schema_name AND u.view_name OPERATOR(pg_catalog.=) v.view_name
        AND u.kind OPERATOR(pg_catalog.=) 'table'
) AS i
CROSS JOIN LATERAL (
    SELECT pg_catalog.sum(s.n_tup_ins OPERATOR(pg_catalog.+) s.n_tup_upd OPERATOR(pg_catalog.+) s.n_tup_del)::bigint AS delta_rows_out
    FROM pg_catalog.pg_stat_user_tables AS s
    WHERE s.schemaname OPERATOR(pg_catalog.=) 'stepping'
        AND s.relname::text OPERATOR(pg_catalog.=) v.stages[pg_catalog.cardinality(v.stages)]
) AS o
CROSS JOIN LATERAL (
    -- the first 47 bits of an advisory lock's number are those of the stage's name
    SELECT pg_catalog.count(*) AS lock_waits
    FROM pg_catalog.pg_locks AS l
    CROSS JOIN pg_catalog.unnest(v.stages) AS stage
    CROSS JOIN LATERAL pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.concat('pg_stepping ', stage), 'UTF8')) AS h
    WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND NOT l.granted
        AND ((l.classid::bigint OPERATOR(pg_catalog.<<) 32) OPERATOR(pg_catalog.|) l.objid::bigint) OPERATOR(pg_catalog.>>) 16
            OPERATOR(pg_catalog.=) ((('x' OPERATOR(pg_catalog.||) pg_catalog.left(pg_catalog.encode(h, 'hex'), 16))::bit(64) OPERATOR(pg_catalog.>>) 17)::bigint)
) AS l;

COMMENT ON VIEW stepping.stat_views IS
'What maintenance did since the statistics were reset; calls and times (ms) need track_functions = all. lock_waits: sessions that wait now.
In deferred mode also: changes that wait, the age of the oldest, and since the view was made how often, how many and how long (ms) they were applied.';

DO $body$
DECLARE
    event_trigger text;
BEGIN
    CREATE OR REPLACE TRIGGER note_used AFTER INSERT OR DELETE OR UPDATE OF mode ON stepping.maintained_view
        FOR EACH ROW EXECUTE FUNCTION stepping.note_used();
    CREATE OR REPLACE TRIGGER identify_rows BEFORE INSERT OR UPDATE OF mode ON stepping.maintained_view
        FOR EACH ROW EXECUTE FUNCTION stepping.identify_rows();
    PERFORM stepping.identify(ARRAY[]::text[]);
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RETURN;
    END IF;

    -- DDL after which a view would not be what its query gives is refused; triggers that are disabled are noted.
    CREATE OR REPLACE FUNCTION stepping.watch() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
    AS $function$
    DECLARE
        changed record;
        said text;
    BEGIN
        FOR changed IN
            SELECT DISTINCT v AS view, concat(v.schema_name, '.', v.view_name) AS name, ddl.object_identity, ddl.command_tag,
                CASE ddl.classid WHEN 'pg_class'::regclass THEN ddl.objid END AS source
            FROM pg_event_trigger_ddl_commands() AS ddl
            JOIN stepping.maintained_view AS v ON EXISTS (
                SELECT FROM stepping.used AS u
                WHERE (u.schema_name, u.view_name) = (v.schema_name, v.view_name) AND CASE u.kind
                    -- one that is not there by its name any more may just have got another
                    WHEN 'function' THEN ddl.classid = 'pg_proc'::regclass
                        AND coalesce(to_regprocedure(u.object)::oid = ddl.objid, ddl.command_tag = 'ALTER FUNCTION')
                    WHEN 'enum' THEN ddl.classid = 'pg_type'::regclass
                        AND coalesce(to_regtype(u.object)::oid = ddl.objid, ddl.command_tag = 'ALTER TYPE')
                    WHEN 'row' THEN ddl.classid IN ('pg_class'::regclass, 'pg_type'::regclass)
                        AND ddl.objid IN (to_regclass(u.object)::oid, to_regtype(u.object)::oid)
                    ELSE false END
            ) OR (ddl.classid = 'pg_class'::regclass AND EXISTS (
                SELECT FROM pg_trigger AS t JOIN unnest(v.stages) AS stage
                    ON t.tgfoid = to_regproc(concat('stepping.', quote_ident(stage || '__maintain')))
                WHERE t.tgrelid = ddl.objid
            ))
        LOOP
            IF EXISTS (
                SELECT FROM pg_trigger WHERE tgrelid = changed.source AND tgenabled IN ('D', 'R')
                AND tgname ~ '^stepping_([0-9]{6}_|open$|close$)'
            ) THEN
                PERFORM stepping.suspect(changed.source::regclass, 'had its triggers disabled');
                CONTINUE;
            END IF;
            CONTINUE WHEN stepping.own_problem(changed.view) IS NOT NULL;  -- which no DDL on its tables brought about
            said := stepping.problem(changed.view);
            IF said <> coalesce(stepping.fault(changed.view), '') AND NOT EXISTS (
                SELECT FROM stepping.suspect AS s WHERE concat(s.schema_name, '.', s.view_name) = changed.name
            ) THEN
                RAISE EXCEPTION USING
                    ERRCODE = 'dependent_objects_still_exist',
                    MESSAGE = concat('cannot change ', changed.object_identity, ': maintained view ', changed.name, ' reads it'),
                    DETAIL = concat('After ', changed.command_tag, ' ', said, '.'),
                    HINT = 'Drop the view first, and make it again afterwards.';
            END IF;
        END LOOP;
    END
    $function$;

    CREATE OR REPLACE FUNCTION stepping.watch_drop() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $function$
    DECLARE
        reader record;
    BEGIN
        IF to_regclass('stepping.used') IS NULL THEN
            RETURN;
        END IF;
        FOR reader IN
            SELECT d.object_identity AS dropped, u.schema_name, u.view_name
            FROM pg_event_trigger_dropped_objects() AS d
            JOIN stepping.used AS u ON u.object = d.object_identity
                AND d.object_type = ANY (CASE u.kind WHEN 'table' THEN ARRAY['table'] WHEN 'enum' THEN ARRAY['type'] WHEN 'row' THEN ARRAY['type']
                    ELSE ARRAY['function', 'aggregate'] END)
            UNION  -- a column that was dropped and added again in one command
            SELECT d.object_identity, v.schema_name, v.view_name
            FROM pg_event_trigger_dropped_objects() AS d
            JOIN pg_attribute AS c ON c.attrelid = d.objid AND c.attname = d.address_names[3] AND NOT c.attisdropped
            JOIN pg_trigger AS t ON t.tgrelid = c.attrelid AND t.tgname ~ '^stepping_[0-9]{6}_insert_'
            JOIN pg_proc AS p ON p.oid = t.tgfoid
            JOIN stepping.maintained_view AS v ON left(p.proname, -length('__maintain')) = ANY (v.stages)
            WHERE d.object_type = 'table column'
            UNION
            SELECT d.object_identity, u.schema_name, u.view_name
            FROM pg_event_trigger_dropped_objects() AS d
            JOIN stepping.used AS u ON u.kind = 'key' AND stepping.definition(u.kind, u.object) IS NULL
            WHERE d.object_type = 'index' AND d.original
            ORDER BY 1, 2, 3 LIMIT 1
        LOOP
            RAISE EXCEPTION USING
                ERRCODE = 'dependent_objects_still_exist',
                MESSAGE = concat('cannot drop ', reader.dropped, ': maintained view ', reader.schema_name, '.', reader.view_name, ' reads it'),
                HINT = concat('Drop the view first: SELECT stepping.drop_view(', quote_literal(reader.schema_name), ', ', quote_literal(reader.view_name), ').');
        END LOOP;
    END
    $function$;

    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'stepping_watch') THEN
        CREATE EVENT TRIGGER stepping_watch ON ddl_command_end
            WHEN TAG IN ('ALTER TABLE', 'CREATE FUNCTION', 'ALTER FUNCTION', 'CREATE AGGREGATE', 'ALTER TYPE')
            EXECUTE FUNCTION stepping.watch();
        CREATE EVENT TRIGGER stepping_watch_drop ON sql_drop EXECUTE FUNCTION stepping.watch_drop();
    END IF;

    -- They fire where session_replication_role is replica, too: DDL is no less what it is.
    FOR event_trigger IN SELECT evtname FROM pg_catalog.pg_event_trigger WHERE evtname ~ '^stepping_' AND evtenabled = 'O' LOOP
        EXECUTE pg_catalog.concat('ALTER EVENT TRIGGER ', event_trigger, ' ENABLE ALWAYS');
    END LOOP;
END
$body$;
