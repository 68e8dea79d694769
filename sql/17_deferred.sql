-- Deferred mode: what the views have in common.

-- Places (ctid) of rows, as one value that tells quickly whether one is among them.
DO $body$
BEGIN
    IF to_regtype('stepping.place_range') IS NULL THEN
        CREATE TYPE stepping.place_range AS RANGE (subtype = tid, multirange_type_name = stepping.place_set);
    END IF;
END
$body$;

COMMENT ON TYPE stepping.place_range IS 'Places (ctid) in a table.';

CREATE TABLE IF NOT EXISTS stepping.applied (
    schema_name text NOT NULL,
    view_name text NOT NULL,
    applied_at timestamptz NOT NULL,
    changes bigint NOT NULL,
    seconds double precision NOT NULL,
    times bigint NOT NULL,
    all_changes bigint NOT NULL,
    all_seconds double precision NOT NULL,
    PRIMARY KEY (schema_name, view_name),
    FOREIGN KEY (schema_name, view_name) REFERENCES stepping.maintained_view ON DELETE CASCADE ON UPDATE CASCADE
);

COMMENT ON TABLE stepping.applied IS
'When a view in deferred mode was applied last, how many changes that took and how long; the same of all times together.';

-- It runs as its owner: who applies a view need not be able to write the catalog.
CREATE OR REPLACE FUNCTION stepping.note_applied(schema_name text, view_name text, changes bigint, began timestamptz)
RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
    INSERT INTO stepping.applied AS a
    SELECT schema_name, view_name, clock_timestamp(), changes, took, 1, changes, took
    FROM extract(epoch FROM clock_timestamp() - began) AS took
    ON CONFLICT (schema_name, view_name) DO UPDATE SET
        applied_at = excluded.applied_at, changes = excluded.changes, seconds = excluded.seconds,
        times = a.times + 1, all_changes = a.all_changes + excluded.changes, all_seconds = a.all_seconds + excluded.seconds
$body$;

-- What waits in the logs of each view in deferred mode, since when, and how long applying took; NULL for who may not read them.
CREATE OR REPLACE FUNCTION stepping.pending() RETURNS TABLE (
    schema_name text, view_name text, pending bigint, oldest timestamptz, age interval,
    applied_at timestamptz, changes bigint, seconds double precision, times bigint, all_changes bigint, all_seconds double precision
)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    view record;
    log text;
    waits bigint;
    since timestamptz;
BEGIN
    FOR view IN
        SELECT v.schema_name, v.view_name, v.stages FROM stepping.maintained_view AS v
        WHERE v.mode = 'deferred' ORDER BY 1, 2
    LOOP
        pending := 0;
        oldest := NULL;
        FOR log IN
            SELECT c.relname FROM pg_class AS c JOIN unnest(view.stages) AS stage
            ON c.relname ~ concat('^', stage, '__log_[0-9]+$')
            WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind = 'r'
        LOOP
            log := concat('stepping.', quote_ident(log));
            waits := NULL;
            IF has_table_privilege(log, 'SELECT') THEN
                EXECUTE concat('SELECT count(*), min(logged_at) FROM ', log) INTO waits, since;
            END IF;
            pending := pending + waits;
            oldest := least(oldest, since);
        END LOOP;
        RETURN QUERY
            SELECT view.schema_name, view.view_name, pending, oldest, clock_timestamp() - oldest,
                a.applied_at, a.changes, a.seconds, a.times, a.all_changes, a.all_seconds
            FROM (VALUES (1)) AS one (x) LEFT JOIN stepping.applied AS a
              ON a.schema_name = view.schema_name AND a.view_name = view.view_name;
    END LOOP;
END
$body$;

CREATE OR REPLACE VIEW stepping.deferred_view AS SELECT * FROM stepping.pending();

COMMENT ON VIEW stepping.deferred_view IS
'Views in deferred mode: changes that wait in their logs, the age of the oldest, and how long applying took.';

DO $body$
BEGIN
    IF to_regprocedure('stepping.apply(regclass)') IS NOT NULL THEN
        DROP FUNCTION stepping.apply(regclass);  -- of a catalog from before there were parts
    END IF;
END
$body$;

-- Applies what is in the logs of a view, and returns how many changes that were; with `max_rows` about so many, where the
-- view allows it (else all). One session at a time does so: others wait for it, and then see what it has done.
CREATE OR REPLACE FUNCTION stepping.apply(view regclass, max_rows bigint DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    name text;
    schema_name text;
    view_name text;
    taken bigint;
    began timestamptz := clock_timestamp();
BEGIN
    IF max_rows < 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value', MESSAGE = concat('cannot apply ', max_rows, ' changes: one is the least');
    END IF;
    FOR look IN 1 .. 2 LOOP  -- again under the lock: who brings the view to immediate mode, or drops it, has had it
        SELECT stage, v.schema_name, v.view_name INTO name, schema_name, view_name
        FROM stepping.maintained_view AS v
        JOIN unnest(v.stages) AS stage ON to_regproc(concat('stepping.', quote_ident(stage || '__apply'))) IS NOT NULL
        JOIN pg_class AS c ON c.oid = view AND c.relname = v.view_name
        JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = v.schema_name
        WHERE v.mode = 'deferred';
        IF name IS NULL THEN
            RAISE EXCEPTION USING
                ERRCODE = 'wrong_object_type',
                MESSAGE = concat(coalesce(view::text, 'NULL'), ' is not a maintained view in deferred mode'),
                HINT = 'stepping.maintained_view has those that there are.';
        END IF;
        PERFORM pg_advisory_xact_lock(stepping.log_lock(name, 'apply'::text));
    END LOOP;
    IF EXISTS (
        SELECT FROM pg_proc AS p
        WHERE p.pronamespace = 'stepping'::regnamespace AND p.proname IN (concat(name, '__apply'), concat(name, '__step'))
          AND NOT p.prosecdef AND pg_get_userbyid(p.proowner) <> current_user
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = concat('what applies ', view, ' would run with the rights of ', current_user),
            HINT = 'Its functions were replaced: drop and create the view again.';
    END IF;
    IF max_rows IS NULL OR to_regproc(concat('stepping.', quote_ident(name || '__step'))) IS NULL THEN
        EXECUTE concat('SELECT stepping.', quote_ident(name || '__apply'), '()') INTO taken;
    ELSE
        EXECUTE concat('SELECT stepping.', quote_ident(name || '__step'), '($1)') INTO taken USING max_rows;
    END IF;
    IF taken > 0 THEN
        PERFORM stepping.note_applied(schema_name, view_name, taken, began);
    END IF;
    RETURN taken;
END
$body$;

-- A part of a log cannot be applied by itself (generator/pg_stepping/delta/step.py). A boolean, for a condition.
CREATE OR REPLACE FUNCTION stepping.refuse_step() RETURNS boolean
LANGUAGE plpgsql
AS $body$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'S5001', MESSAGE = 'these changes can only be applied together with others';
END
$body$;

-- A statement that is under way has changed rows that come to the logs by its trigger, at its end. Postgres knows the tables that
-- statements and cursors of this session use, and tells whoever would alter one: so this asks for an altering of nothing.
CREATE OR REPLACE FUNCTION stepping.check_no_statement(view text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s'
AS $body$
DECLARE
    source regclass;
BEGIN
    FOR source IN
        SELECT DISTINCT t.tgrelid FROM pg_trigger AS t
        WHERE t.tgfoid = to_regproc(concat('stepping.', quote_ident(view || '__maintain')))
    LOOP
        BEGIN
            EXECUTE concat('ALTER TABLE ONLY ', source, ' VALIDATE CONSTRAINT "stepping: none"');
        EXCEPTION
            WHEN undefined_object THEN
                NULL;
            WHEN object_in_use THEN
                IF SQLERRM !~ 'pending trigger events' THEN  -- such as those of a deferred foreign key
                    RAISE EXCEPTION USING
                        ERRCODE = 'object_not_in_prerequisite_state',
                        MESSAGE = concat('cannot apply the logs of stepping.', view, ' while a statement or a cursor of this session uses ', source),
                        DETAIL = 'The statement may have changed rows that are not in the logs yet.',
                        HINT = 'Do it after the statement, or in a transaction of its own.';
                END IF;
        END;
    END LOOP;
END
$body$;

-- Within a trigger a table may have rows that are not in the logs yet, but for apply_overdue(), which sees to that itself; and
-- within a statement that writes (who has not written has no transaction id). An old snapshot may not see what others applied.
CREATE OR REPLACE FUNCTION stepping.check_apply(view text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    callers text;
BEGIN
    GET DIAGNOSTICS callers = PG_CONTEXT;
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_transaction_state',
            MESSAGE = concat('cannot apply the logs of stepping.', view, ' at ', upper(current_setting('transaction_isolation'))),
            DETAIL = 'This transaction cannot see what others have applied since it began.',
            HINT = 'Do it in a transaction at READ COMMITTED.';
    END IF;
    IF pg_trigger_depth() > 0 AND callers !~ 'stepping[.]apply_overdue[(][)][^\n]*$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = concat('cannot apply the logs of stepping.', view, ' within a trigger'),
            DETAIL = 'The statement that fired it may have changed rows that are not in the logs yet.',
            HINT = 'Do it after the statement.';
    END IF;
    IF pg_trigger_depth() = 0 AND pg_current_xact_id_if_assigned() IS NOT NULL THEN
        PERFORM stepping.check_no_statement(check_apply.view);
    END IF;
    IF EXISTS (  -- what has been filled so far is the tables without all that is in the logs
        SELECT FROM stepping.filling AS f JOIN stepping.maintained_view AS v USING (schema_name, view_name)
        WHERE check_apply.view = ANY (v.stages)
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = concat('stepping.', view, ' is being filled online: its logs cannot be applied yet'),
            HINT = 'Run the command that makes the view again, if it was interrupted: it goes on.';
    END IF;
END
$body$;

-- TRUNCATE takes all rows of a table, also those that an old snapshot does not see: they cannot be noted in the log. There is no such
-- row if no other transaction has been committed since the snapshot: whoever else is under way has not written to the table, which is locked.
CREATE OR REPLACE FUNCTION stepping.check_truncate(source regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    seen pg_snapshot := pg_current_snapshot();
    number bigint := pg_snapshot_xmax(seen)::text::bigint;
    committed boolean;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('repeatable read', 'serializable') THEN
        RETURN;
    END IF;
    -- NULL: too long ago to tell
    committed := EXISTS (SELECT FROM pg_snapshot_xip(seen) AS x WHERE coalesce(pg_xact_status(x), 'committed') = 'committed');
    BEGIN
        WHILE NOT committed LOOP
            committed := coalesce(pg_xact_status(number::text::xid8), 'committed') = 'committed';
            number := number + 1;
        END LOOP;
    EXCEPTION
        WHEN invalid_parameter_value THEN  -- a number that no transaction has yet
            NULL;
    END;
    IF committed THEN
        RAISE EXCEPTION USING
            ERRCODE = 'serialization_failure',
            MESSAGE = concat('cannot TRUNCATE ', source, ' at ', upper(current_setting('transaction_isolation'))),
            DETAIL = 'A maintained view reads it, and another transaction was committed since this one began: it may have left rows that this one does not see.',
            HINT = 'Try again, with LOCK TABLE before all else in the transaction, so that its snapshot is taken then; or do it at READ COMMITTED, or DELETE the rows.';
    END IF;
END
$body$;
