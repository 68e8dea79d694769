-- The catalog of pg_stepping: which views are maintained, and what the triggers of every view share.
-- `CREATE EXTENSION pg_stepping` and `pg-stepping init` both run this file, in schema stepping.

CREATE TABLE IF NOT EXISTS stepping.maintained_view (
    schema_name text NOT NULL,
    view_name text NOT NULL,
    query text NOT NULL,
    recompute text NOT NULL,
    language text NOT NULL,
    indexes jsonb NOT NULL,
    settings jsonb NOT NULL,
    stages text[] NOT NULL,
    reads text[] NOT NULL,
    expands jsonb NOT NULL,
    fingerprint text NOT NULL,
    version text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('immediate', 'deferred')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, view_name)
);
-- What came later, for a catalog that is there.
ALTER TABLE stepping.maintained_view ADD COLUMN IF NOT EXISTS stripes integer NOT NULL DEFAULT 0;
ALTER TABLE stepping.maintained_view ADD COLUMN IF NOT EXISTS text_version integer NOT NULL DEFAULT 0;

-- The version of pg_stepping that made the rest of this schema.
CREATE OR REPLACE FUNCTION stepping.version() RETURNS text
LANGUAGE sql IMMUTABLE
RETURN '@version@';

COMMENT ON FUNCTION stepping.version() IS '@version@';

COMMENT ON TABLE stepping.maintained_view IS
'One row for each view that pg_stepping maintains.';
COMMENT ON COLUMN stepping.maintained_view.query IS
'The query in canonical form: every name qualified, independent of search_path.';
COMMENT ON COLUMN stepping.maintained_view.recompute IS
'The query with float sums in exact arithmetic, as the view computes them; verify compares with this.';
COMMENT ON COLUMN stepping.maintained_view.indexes IS
'The published columns of each further index.';
COMMENT ON COLUMN stepping.maintained_view.settings IS
'The session settings that the result depends on, by name; the triggers run with these.';
COMMENT ON COLUMN stepping.maintained_view.stages IS
'The state tables in schema stepping, each after those that it reads; the last one is published.';
COMMENT ON COLUMN stepping.maintained_view.reads IS
'The maintained views that this one reads, as schema.name.';
COMMENT ON COLUMN stepping.maintained_view.expands IS
'The ordinary views that it reads, each as schema, name and the definition that it had when this view was made.';
COMMENT ON COLUMN stepping.maintained_view.fingerprint IS
'SHA-256 of the plan, the indexes and the settings; equal plans give equal fingerprints.';
COMMENT ON COLUMN stepping.maintained_view.mode IS
'immediate: writers bring the state up to date; deferred: they append to logs, and stepping.apply() does.';
COMMENT ON COLUMN stepping.maintained_view.stripes IS
'Over how many rows of the state each group is spread, so that its writers do not wait for each other; 0: over one.';
COMMENT ON COLUMN stepping.maintained_view.text_version IS
'Which version of the generated text the view was made with: stepping.fault() knows which faults were mended since.';

-- A row is here only while a statement is running whose changes wait for its last trigger.
CREATE TABLE IF NOT EXISTS stepping.waiting (stage text NOT NULL, number integer NOT NULL);

COMMENT ON TABLE stepping.waiting IS
'Stages with changes set aside until the end of the running statement; empty at every commit.';
COMMENT ON COLUMN stepping.waiting.number IS
'The place of the stage in the order in which all of them run; no stage comes before one that it reads.';

-- Creates the triggers that carry every change of some tables to a stage; `keys` are their names within the stage,
-- `parted` those of tables with partitions or children (see 15_parts.sql).
-- Those of one table fire in the order of their names: stepping_010001_..., stepping_010002_..., stepping_close.
-- The number is that of the stage: its level (one more than those of the stages that it reads), then its place
-- among all stages. All writers come to the stages in this order, so they cannot wait for each other in a circle.
CREATE OR REPLACE FUNCTION stepping.follow(
    stage text, sources regclass[], keys text[], parted text[] DEFAULT '{}'
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    aside regclass := to_regclass(concat('stepping.', quote_ident(stage || '__aside_1')));
    number integer;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_transaction_state',
            MESSAGE = 'a maintained view cannot be created at REPEATABLE READ or SERIALIZABLE',
            DETAIL = 'Rows committed since the transaction began would be missing from it.',
            HINT = 'Create it in a transaction at READ COMMITTED.';
    END IF;
    SELECT (1 + coalesce(max(n / 10000) FILTER (WHERE reads), 0)) * 10000 + 1 + coalesce(max(mod(n, 10000)), 0) INTO number
    FROM (
        SELECT substring(t.tgname FROM '^stepping_([0-9]{6})_')::integer AS n, coalesce(r.oid = ANY (sources), false) AS reads
        FROM pg_trigger AS t
        JOIN pg_proc AS p ON p.oid = t.tgfoid
        LEFT JOIN pg_class AS r ON r.relnamespace = p.pronamespace AND r.relname || '__maintain' = p.proname
    ) AS numbered;
    FOR place IN 1 .. cardinality(sources) LOOP
        IF row_security_active(sources[place]) THEN
            RAISE EXCEPTION USING
                ERRCODE = 'feature_not_supported',
                MESSAGE = concat('row security of ', sources[place], ' hides rows from ', current_user, ', whose rights the view would have'),
                HINT = 'Create the view as a role with BYPASSRLS, or as an owner of the table to whom no policy applies.';
        END IF;
        PERFORM stepping.check_parts(sources[place], keys[place] = ANY (parted));
        PERFORM stepping.follow_table(
            member, stage, number, keys[place],
            CASE WHEN keys[place] = ANY (parted) THEN
                concat(', ', place, CASE WHEN member = sources[place] THEN ', ''root''' ELSE ', ''part''' END)
            END
        ) FROM stepping.family(sources[place]) AS member;
        PERFORM stepping.follow_part(member) FROM stepping.family(sources[place]) AS member WHERE keys[place] = ANY (parted);
        PERFORM stepping.hold_columns(stage, place, sources[place]);
    END LOOP;
    IF aside IS NOT NULL THEN  -- in deferred mode nothing is set aside
        EXECUTE concat(  -- fired by settle()
            'CREATE TRIGGER ', stepping.trigger_name(number, 'update', stage), ' AFTER UPDATE ON ', aside,
            ' FOR EACH STATEMENT EXECUTE FUNCTION stepping.', quote_ident(stage || '__maintain'), '('''', ', number, ')'
        );
        EXECUTE concat('GRANT UPDATE ON ', aside, ' TO ', (
            SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'stepping'
        ));
    END IF;
    PERFORM stepping.follow_replica(member) FROM unnest(sources) AS source CROSS JOIN LATERAL stepping.family(source) AS member;
END
$body$;

-- Says of each index of some state tables what it is for.
CREATE OR REPLACE PROCEDURE stepping.comment_indexes(tables regclass[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    said record;
BEGIN
    FOR said IN
        SELECT indexrelid::regclass AS name, indrelid::regclass AS state, indisunique AS is_key FROM pg_index
        WHERE indrelid = ANY (tables) AND obj_description(indexrelid, 'pg_class') IS NULL
    LOOP
        EXECUTE concat('COMMENT ON INDEX ', said.name, ' IS ', quote_literal(concat(
            CASE WHEN said.is_key THEN 'Finds the row of a key in ' ELSE 'Finds rows by other columns in ' END, said.state, '.'
        )));
    END LOOP;
END
$body$;

-- The name of a stage's trigger, as SQL; cut where it is too long for one.
CREATE OR REPLACE FUNCTION stepping.trigger_name(number integer, event text, stage text) RETURNS text
LANGUAGE sql IMMUTABLE
AS $body$
    SELECT pg_catalog.quote_ident(pg_catalog.left(
        pg_catalog.concat('stepping_', pg_catalog.lpad(number::text, 6, '0'), '_', event, '_', stage), 63
    ))
$body$;

-- Whether what is called like a stage is a view in deferred mode, whose changes go to logs. (While a view is brought back
-- to immediate mode it has both.)
CREATE OR REPLACE FUNCTION stepping.has_logs(stage text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT to_regclass(concat('stepping.', quote_ident(stage || '__log_1'))) IS NOT NULL
        AND to_regclass(concat('stepping.', quote_ident(stage || '__aside_1'))) IS NULL
$body$;

-- Creates the triggers of one stage on one table, and those that all stages share. `family` is given if the table is
-- one of several that are read as one; then TRUNCATE is a change too, and empties nothing but this one.
CREATE OR REPLACE FUNCTION stepping.follow_table(
    followed regclass, stage text, number integer, key text, family text
) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    event text;
    transition text;
    logs boolean := stepping.has_logs(stage);
BEGIN
    IF NOT logs AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = followed AND tgname = 'stepping_open') THEN
        EXECUTE concat(
            'CREATE TRIGGER stepping_open BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON ', followed,
            ' FOR EACH STATEMENT EXECUTE FUNCTION stepping.open_statement()'
        );
        EXECUTE concat(
            'CREATE TRIGGER stepping_close AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ', followed,
            ' FOR EACH STATEMENT EXECUTE FUNCTION stepping.close_statement()'
        );
    END IF;
    FOR event, transition IN VALUES
        ('insert', ' REFERENCING NEW TABLE AS inserted'),
        ('delete', ' REFERENCING OLD TABLE AS deleted'),
        ('update', ' REFERENCING OLD TABLE AS deleted NEW TABLE AS inserted'),
        ('truncate', '')
    LOOP
        CONTINUE WHEN event = 'truncate' AND family IS NOT NULL;
        EXECUTE concat(
            'CREATE TRIGGER ', stepping.trigger_name(number, event, stage),
            CASE WHEN logs AND event = 'truncate' THEN ' BEFORE ' ELSE ' AFTER ' END, event, ' ON ', followed, transition,
            ' FOR EACH STATEMENT EXECUTE FUNCTION stepping.', quote_ident(stage || '__maintain'),
            '(', quote_literal(key), ', ', number, family, ')'
        );
    END LOOP;
END
$body$;

-- Takes what all stages share off the tables that none follows any more.
CREATE OR REPLACE FUNCTION stepping.unfollow_tables() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    ours record;
BEGIN
    FOR ours IN
        SELECT t.tgname, t.tgrelid::regclass AS source, EXISTS (
            SELECT FROM pg_rewrite WHERE ev_class = t.tgrelid AND rulename = 'stepping_no_merge'
        ) AND t.tgname = 'stepping_part' AS has_rule
        FROM pg_trigger AS t
        WHERE t.tgname IN ('stepping_open', 'stepping_close', 'stepping_part', 'stepping_replica', 'stepping_replica_truncate')
          AND NOT EXISTS (
              SELECT FROM pg_trigger AS f JOIN pg_proc AS p ON p.oid = f.tgfoid
              WHERE f.tgrelid = t.tgrelid AND f.tgname ~ '^stepping_[0-9]{6}_'
                AND (t.tgname NOT IN ('stepping_open', 'stepping_close') OR NOT stepping.has_logs(left(p.proname, -length('__maintain'))))
          )
    LOOP
        EXECUTE concat('DROP TRIGGER ', ours.tgname, ' ON ', ours.source);
        IF ours.has_rule THEN
            EXECUTE concat('DROP RULE stepping_no_merge ON ', ours.source);
        END IF;
    END LOOP;
END
$body$;

-- Marks the statements under way on maintained tables, each by a +: within the end of the outermost one all their
-- AFTER triggers run, whichever table they are on. The mark is local to the transaction and goes back with a savepoint.
-- PL/pgSQL prepares each expression anew in each transaction, so these two have as few and as plain ones as can be:
-- RETURN NEW, which is NULL for a statement, takes none.
CREATE OR REPLACE FUNCTION stepping.open_statement() RETURNS trigger
LANGUAGE plpgsql
AS $body$
DECLARE
    open text := pg_catalog.set_config(
        'stepping.open',
        coalesce(pg_catalog.current_setting('stepping.open', true), '') OPERATOR(pg_catalog.||) '+',
        true
    );
BEGIN
    RETURN NEW;
END
$body$;

-- Comes after all others. The last one settles what was set aside, counted as open again, so that what this changes
-- in state tables is set aside for the stages that read them until their turn has come.
-- It runs as its owner: who writes need not be able to use schema stepping.
CREATE OR REPLACE FUNCTION stepping.close_statement() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
AS $body$
BEGIN
    IF pg_catalog.set_config('stepping.open', pg_catalog.substr(pg_catalog.current_setting('stepping.open'), 2), true)
        OPERATOR(pg_catalog.||) pg_catalog.current_setting('stepping.waiting', true) OPERATOR(pg_catalog.<>) ''
    THEN
        IF pg_catalog.current_setting('stepping.open') OPERATOR(pg_catalog.=) '' THEN
            PERFORM pg_catalog.set_config('stepping.open', '+', true);
            PERFORM stepping.settle();
            PERFORM pg_catalog.set_config('stepping.open', '', true);
        END IF;
    END IF;
    RETURN NEW;
END
$body$;

-- Notes that changes were set aside for a stage. The setting is the number of the first stage that waits.
CREATE OR REPLACE FUNCTION stepping.wait(stage text, number integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    INSERT INTO stepping.waiting
    SELECT wait.stage, wait.number
    WHERE NOT EXISTS (SELECT FROM stepping.waiting AS w WHERE w.stage = wait.stage);
    PERFORM set_config(
        'stepping.waiting', least(number, nullif(current_setting('stepping.waiting', true), '')::integer)::text, true
    );
END
$body$;

-- Runs the stages that wait, in their order: an UPDATE of no rows fires the trigger that follow() made for this. That one
-- runs as the owner of the view; any other would run as the owner of the catalog, so there must be none.
CREATE OR REPLACE FUNCTION stepping.settle() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    next record;
    aside regclass;
    padding text;
    is_tampered boolean;
BEGIN
    LOOP
        DELETE FROM stepping.waiting
        WHERE ctid = (SELECT w.ctid FROM stepping.waiting AS w ORDER BY w.number, w.stage LIMIT 1)
        RETURNING * INTO next;
        PERFORM set_config('stepping.waiting', coalesce(next.number::text, ''), true);
        EXIT WHEN next.stage IS NULL;
        -- By the number of the table: a join with what waits is planned for as many rows as that table ever had pages for.
        SELECT c.oid, quote_ident(a.attname), pg_get_userbyid(c.relowner) <> current_user AND (
            c.relhasrules OR EXISTS (
                SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
                WHERE t.tgrelid = c.oid AND (NOT p.prosecdef OR t.tgqual IS NOT NULL)
            )
        ) INTO aside, padding, is_tampered
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = c.relnatts
        WHERE c.oid = concat('stepping.', quote_ident(next.stage || '__aside_1'))::regclass;
        IF is_tampered THEN
            RAISE EXCEPTION USING
                ERRCODE = 'insufficient_privilege',
                MESSAGE = concat(aside, ' has a rule or a trigger that would run with the rights of ', current_user),
                HINT = 'Only the triggers that pg_stepping made belong there: drop others.';
        END IF;
        EXECUTE concat('UPDATE ', aside, ' SET ', padding, ' = NULL WHERE false');
    END LOOP;
END
$body$;

-- A snapshot that was taken before a lock was got does not see what the lock's last owner wrote.
CREATE OR REPLACE FUNCTION stepping.refuse_snapshot(stage text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'feature_not_supported',
        MESSAGE = concat('cannot maintain stepping.', stage, ' at ', upper(current_setting('transaction_isolation'))),
        DETAIL = 'The view joins tables, and this transaction cannot see what others have committed to them since it began.',
        HINT = 'Write at READ COMMITTED, or maintain the view in deferred mode (docs/deferred.md).';
END
$body$;

-- Locks until the end of the transaction, for a stage that will join what is there by then. Plain SQL, which the planner
-- puts into the statement that calls it.
CREATE OR REPLACE FUNCTION stepping.lock(stage text, key bigint, exclusive boolean) RETURNS void
LANGUAGE sql
RETURN CASE
    WHEN pg_catalog.current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN stepping.refuse_snapshot(stage)
    WHEN exclusive THEN pg_catalog.pg_advisory_xact_lock(key)
    ELSE pg_catalog.pg_advisory_xact_lock_shared(key)
END;

-- A count of rows that is not that of the state.
CREATE OR REPLACE FUNCTION stepping.refuse_count(stage text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'serialization_failure',
            MESSAGE = concat('could not serialize access: rows of stepping.', stage, ' were replaced by another transaction'),
            HINT = 'The transaction might succeed if retried.';
    END IF;
    RAISE EXCEPTION USING
        ERRCODE = 'data_corrupted',
        MESSAGE = concat('stepping.', stage, ' is corrupt: a count is not that of the rows'),
        HINT = 'verify shows the difference; repair it, or drop and create the view again';
END
$body$;

-- A key's row that is new to whoever writes it although his snapshot shows one: another transaction took that away.
CREATE OR REPLACE FUNCTION stepping.refuse_key(stage text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'serialization_failure',
            MESSAGE = concat('could not serialize access: a key of stepping.', stage, ' was emptied by another transaction'),
            HINT = 'The transaction might succeed if retried.';
    END IF;
    RETURN true;
END
$body$;

-- The safety net below that count: changes still set aside at commit would be lost, so the commit fails.
-- After SET CONSTRAINTS ... IMMEDIATE it is called too early, within our trigger: then it is put off again.
CREATE OR REPLACE FUNCTION stepping.refuse_leftovers() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF pg_trigger_depth() > 1 THEN
        SET CONSTRAINTS stepping.refuse_leftovers DEFERRED;
        UPDATE stepping.waiting SET stage = stage WHERE stage = NEW.stage;
    ELSIF EXISTS (SELECT FROM stepping.waiting WHERE stage = NEW.stage) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'internal_error',
            MESSAGE = concat('changes for stepping.', NEW.stage, ' were set aside and never applied'),
            HINT = 'The transaction was rolled back. Was a setting named stepping.* changed by hand?';
    END IF;
    RETURN NULL;
END
$body$;

-- A subquery that is used as a value has more than one row.
CREATE OR REPLACE FUNCTION stepping.refuse_rows(n bigint) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'cardinality_violation',
        MESSAGE = 'more than one row returned by a subquery used as an expression',
        HINT = 'A maintained view has this subquery; it allows at most one row.';
END
$body$;

CREATE OR REPLACE FUNCTION stepping.refuse_write() RETURNS trigger
LANGUAGE plpgsql
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'feature_not_supported',
        MESSAGE = pg_catalog.concat('view "', TG_TABLE_NAME, '" is maintained by pg_stepping: it cannot be written'),
        HINT = 'Change the tables that its query reads; the view follows in the same transaction.';
END
$body$;

DO $body$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = 'stepping.waiting'::regclass) THEN
        CREATE CONSTRAINT TRIGGER refuse_leftovers AFTER INSERT OR UPDATE ON stepping.waiting
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stepping.refuse_leftovers();
    END IF;
END
$body$;
