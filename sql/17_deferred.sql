-- Deferred mode: what the views have in common.

-- Applies what is in the logs of a view, and returns how many changes that were. One session at a time does so: others
-- wait for it, and then see what it has done.
CREATE OR REPLACE FUNCTION stepping.apply(view regclass) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    function text;
    taken bigint;
BEGIN
    SELECT concat('stepping.', quote_ident(stage || '__apply')) INTO function
    FROM stepping.maintained_view AS v
    JOIN unnest(v.stages) AS stage ON stepping.has_logs(stage)
    JOIN pg_class AS c ON c.oid = view AND c.relname = v.view_name
    JOIN pg_namespace AS n ON n.oid = c.relnamespace AND n.nspname = v.schema_name
    WHERE v.mode = 'deferred';
    IF function IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'wrong_object_type',
            MESSAGE = concat(view, ' is not a maintained view in deferred mode'),
            HINT = 'stepping.maintained_view has those that there are.';
    END IF;
    EXECUTE concat('SELECT ', function, '()') INTO taken;
    RETURN taken;
END
$body$;

-- Within a trigger a table may have rows that are not in the logs yet; an old snapshot may not see what others applied.
CREATE OR REPLACE FUNCTION stepping.check_apply(view text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_transaction_state',
            MESSAGE = concat('cannot apply the logs of stepping.', view, ' at ', upper(current_setting('transaction_isolation'))),
            DETAIL = 'This transaction cannot see what others have applied since it began.',
            HINT = 'Do it in a transaction at READ COMMITTED.';
    END IF;
    IF pg_trigger_depth() > 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = concat('cannot apply the logs of stepping.', view, ' within a trigger'),
            DETAIL = 'The statement that fired it may have changed rows that are not in the logs yet.',
            HINT = 'Do it after the statement.';
    END IF;
END
$body$;

-- TRUNCATE takes rows that an old snapshot does not see: they cannot be noted in the log.
CREATE OR REPLACE FUNCTION stepping.check_truncate(source regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = concat('cannot TRUNCATE ', source, ' at ', upper(current_setting('transaction_isolation'))),
            DETAIL = 'A maintained view reads it, and this transaction does not see all the rows that would go.',
            HINT = 'Do it at READ COMMITTED, or DELETE the rows.';
    END IF;
END
$body$;
