-- Who applies the logs: a worker, which is woken when it waits, or past a threshold the writer himself.

-- A row is here only until the commit of the transaction that wrote it.
CREATE TABLE IF NOT EXISTS stepping.overdue (stage text NOT NULL, apply_lock bigint NOT NULL);

COMMENT ON TABLE stepping.overdue IS
'Views whose logs have grown past the threshold, for the end of the transaction that finds it; empty at every commit.';

CREATE TABLE IF NOT EXISTS stepping.not_applied (stage text PRIMARY KEY, failed_at timestamptz NOT NULL, reason text NOT NULL);

COMMENT ON TABLE stepping.not_applied IS
'Views whose logs a writer past the threshold could not apply; the next one tries a minute later.';

-- Tells the worker that waits for it that something is in a log. A transaction that may be prepared (PREPARE TRANSACTION)
-- must not: there the worker finds out by itself.
CREATE OR REPLACE FUNCTION stepping.wake(stage text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF current_setting('max_prepared_transactions') = '0' THEN
        PERFORM pg_notify('stepping', stage);
    END IF;
    RETURN true;
END
$body$;

-- The length of a log from which on writers apply it, NULL for never: the setting stepping.threshold, where 0 means that.
-- Plain SQL, which the planner puts into the expression that calls it.
CREATE OR REPLACE FUNCTION stepping.threshold() RETURNS bigint
LANGUAGE sql STABLE
RETURN CASE
    WHEN pg_catalog.current_setting('stepping.threshold', true) OPERATOR(pg_catalog.~) '^[0-9]{1,18}$'
    THEN nullif(pg_catalog.current_setting('stepping.threshold', true)::bigint, 0)
    ELSE 100000
END;

-- Whether a log is past the threshold, by the statistics, which do not read it: they are late by a second or so. Plain SQL, too.
CREATE OR REPLACE FUNCTION stepping.is_long(log regclass) RETURNS boolean
LANGUAGE sql VOLATILE
RETURN pg_catalog.pg_stat_get_live_tuples(log) OPERATOR(pg_catalog.+) pg_catalog.pg_stat_get_xact_tuples_inserted(log)
    OPERATOR(pg_catalog.>=) stepping.threshold();

-- The numbers of the advisory locks of a view's logs: `wait` has a worker that waits for something in them, `apply` whoever
-- applies them. (As generator/pg_stepping/delta/locks.py has it.)
CREATE OR REPLACE FUNCTION stepping.log_lock(stage text, kind text) RETURNS bigint
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT (concat('x', left(encode(sha256(convert_to(concat('pg_stepping ', stage, ' ', kind), 'UTF8')), 'hex'), 16))::bit(64)
        >> 17 << 16)::bigint
$body$;

-- Comes after the rows of a statement are in a log; triggers have the same as an expression of their own. A worker that waits
-- for it holds an advisory lock, which its death ends; nobody else keeps that. NOTIFY makes commits queue: so it is not used
-- but where somebody waits.
CREATE OR REPLACE FUNCTION stepping.logged(stage text, log regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    wait_lock bigint := stepping.log_lock(stage, 'wait'::text);
BEGIN
    IF (CASE WHEN pg_try_advisory_lock_shared(wait_lock) THEN pg_advisory_unlock_shared(wait_lock) ELSE stepping.wake(stage) END)
        AND stepping.is_long(log)
    THEN
        PERFORM stepping.note_long(stage);
    END IF;
END
$body$;

-- Notes that a log is past the threshold, unless somebody applies it, or it failed just now, or the view is not there yet.
-- It runs as its owner, who alone writes to stepping.overdue.
CREATE OR REPLACE FUNCTION stepping.note_long(stage text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    apply_lock bigint := stepping.log_lock(stage, 'apply'::text);
BEGIN
    IF current_setting('transaction_isolation') = 'read committed' AND current_setting('max_prepared_transactions') = '0'
        AND NOT EXISTS (SELECT FROM stepping.overdue AS o WHERE o.stage = note_long.stage)
        AND NOT EXISTS (
            SELECT FROM stepping.not_applied AS n
            WHERE n.stage = note_long.stage AND n.failed_at > clock_timestamp() - interval '1 minute'
        )
        AND stepping.deferred_view_of(stage) IS NOT NULL
        AND pg_try_advisory_lock(apply_lock)
    THEN
        PERFORM pg_advisory_unlock(apply_lock);
        INSERT INTO stepping.overdue VALUES (stage, apply_lock);
    END IF;
END
$body$;

-- The view in deferred mode whose last state table this is, if it is published.
CREATE OR REPLACE FUNCTION stepping.deferred_view_of(stage text) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT to_regclass(concat(quote_ident(v.schema_name), '.', quote_ident(v.view_name))) FROM stepping.maintained_view AS v
    WHERE v.mode = 'deferred' AND v.stages[cardinality(v.stages)] = stage
$body$;

-- Runs at the end of the transaction, when no statement is under way whose rows are not in the logs yet: so it does nothing
-- where something else has called it. The writer's transaction does not fail because of what fails here.
CREATE OR REPLACE FUNCTION stepping.apply_overdue() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    view regclass := stepping.deferred_view_of(NEW.stage);
    callers text;
BEGIN
    DELETE FROM stepping.overdue AS o WHERE o.stage = NEW.stage;
    GET DIAGNOSTICS callers = PG_CONTEXT;
    IF strpos(callers, chr(10)) = 0 AND view IS NOT NULL AND pg_try_advisory_xact_lock(NEW.apply_lock) THEN
        BEGIN
            PERFORM stepping.apply(view, stepping.threshold());
            DELETE FROM stepping.not_applied AS n WHERE n.stage = NEW.stage;
        EXCEPTION WHEN OTHERS OR query_canceled THEN
            INSERT INTO stepping.not_applied VALUES (NEW.stage, clock_timestamp(), SQLERRM)
            ON CONFLICT (stage) DO UPDATE SET failed_at = excluded.failed_at, reason = excluded.reason;
            RAISE WARNING USING
                MESSAGE = concat('the logs of ', view, ' were not applied: ', SQLERRM),
                DETAIL = 'They are past the threshold, and no worker applies them. This transaction is not touched by it.';
        END;
    END IF;
    RETURN NULL;
END
$body$;

DO $body$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = 'stepping.overdue'::regclass) THEN
        CREATE CONSTRAINT TRIGGER apply_overdue AFTER INSERT ON stepping.overdue
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stepping.apply_overdue();
    END IF;
END
$body$;

-- apply_overdue() runs as the owner of the catalog, who need not be that of the view.
CREATE OR REPLACE FUNCTION stepping.let_owner_apply(stage text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    function regprocedure;
BEGIN
    FOR function IN
        SELECT p.oid FROM pg_proc AS p
        WHERE p.pronamespace = 'stepping'::regnamespace AND p.proname IN (concat(stage, '__apply'), concat(stage, '__step'))
    LOOP
        EXECUTE concat('GRANT EXECUTE ON FUNCTION ', function, ' TO ', (
            SELECT p.proowner::regrole FROM pg_proc AS p WHERE p.oid = 'stepping.apply_overdue()'::regprocedure
        ));
    END LOOP;
END
$body$;

-- How many changes wait in the logs of a view, counted no further than `most`.
CREATE OR REPLACE FUNCTION stepping.count_pending(stage text, most bigint) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    log text;
    waits bigint;
    found bigint := 0;
BEGIN
    FOR log IN
        SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind = 'r' AND c.relname ~ concat('^', stage, '__log_[0-9]+$')
    LOOP
        EXECUTE concat('SELECT count(*) FROM (SELECT FROM stepping.', quote_ident(log), ' LIMIT $1) AS part')
        INTO waits USING most - found;
        found := found + waits;
    END LOOP;
    RETURN found;
END
$body$;
