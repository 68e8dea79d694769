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
    fingerprint text NOT NULL,
    version text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schema_name, view_name)
);

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
COMMENT ON COLUMN stepping.maintained_view.fingerprint IS
'SHA-256 of the plan, the indexes and the settings; equal plans give equal fingerprints.';

-- A row is here only while a statement is running whose changes wait for its last trigger.
CREATE TABLE IF NOT EXISTS stepping.waiting (stage text NOT NULL);

COMMENT ON TABLE stepping.waiting IS
'Stages with changes set aside until the last trigger of the running statement; empty at every commit.';

-- Creates the triggers that carry every change of a table to a stage. Without a source_key they carry nothing:
-- the stage only waits until the statement that changes the table is through with the stages that it reads.
-- Triggers of one table fire in the order of their names, which begin with a number: first those of the
-- stages that were created first, so that no stage comes before another that it reads.
CREATE OR REPLACE FUNCTION stepping.follow(source regclass, stage text, source_key text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    maintain regproc := to_regproc(concat('stepping.', quote_ident(stage || '__maintain')));
    maintains text := concat(
        ' FOR EACH STATEMENT EXECUTE FUNCTION ', maintain, '(', quote_literal(coalesce(source_key, '')), ')'
    );
    number integer;
    event text;
    transition text;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_transaction_state',
            MESSAGE = 'a maintained view cannot be created at REPEATABLE READ or SERIALIZABLE',
            DETAIL = 'Rows committed since the transaction began would be missing from it.',
            HINT = 'Create it in a transaction at READ COMMITTED.';
    END IF;
    SELECT coalesce(max(n) FILTER (WHERE tgfoid = maintain), max(n) + 1, 1) INTO number
    FROM (SELECT tgfoid, substring(tgname FROM '^stepping_([0-9]+)_')::integer AS n FROM pg_trigger) AS named;
    EXECUTE concat(
        'CREATE TRIGGER ', quote_ident(concat('stepping_', stage, '__open')),
        ' BEFORE INSERT OR UPDATE OR DELETE ON ', source,
        ' FOR EACH STATEMENT EXECUTE FUNCTION stepping.open_statement(',
        quote_literal(concat('stepping.', stage, '__open')), ')'
    );
    FOR event, transition IN
        SELECT e, t FROM (VALUES
            ('insert', ' REFERENCING NEW TABLE AS inserted', true),
            ('delete', ' REFERENCING OLD TABLE AS deleted', true),
            ('update', ' REFERENCING OLD TABLE AS deleted NEW TABLE AS inserted', true),
            ('truncate', '', true),
            ('insert or update or delete', '', false)
        ) AS kind (e, t, carries)
        WHERE carries = (source_key IS NOT NULL)
    LOOP
        EXECUTE concat(
            'CREATE TRIGGER ',
            quote_ident(concat('stepping_', lpad(number::text, 4, '0'), '_', stage, '__', replace(event, ' ', '_'))),
            ' AFTER ', event, ' ON ', source, transition, maintains
        );
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
        HINT = 'Write at READ COMMITTED, or maintain the view in deferred mode.';
END
$body$;

-- Counts the statements under way on the tables of a stage; its AFTER triggers count down.
-- The count is local to the transaction and goes back with a savepoint.
CREATE OR REPLACE FUNCTION stepping.open_statement() RETURNS trigger
LANGUAGE plpgsql
AS $body$
DECLARE  -- an expression alone is many times cheaper than PERFORM
    count text := pg_catalog.set_config(
        TG_ARGV[0],
        (coalesce(nullif(pg_catalog.current_setting(TG_ARGV[0], true), ''), '0')::pg_catalog.int4
            OPERATOR(pg_catalog.+) 1)::pg_catalog.text,
        true
    );
BEGIN
    RETURN NULL;
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

-- Drops a maintained view with all that belongs to it; refuses while another maintained view reads it.
CREATE OR REPLACE FUNCTION stepping.drop_view(schema_name text, view_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
#variable_conflict use_column
DECLARE
    reader text;
    stages text[];
    stage text;
    opener record;
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
    RETURNING v.stages INTO stages;
    IF stages IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_table',
            MESSAGE = concat('there is no maintained view ', drop_view.schema_name, '.', drop_view.view_name);
    END IF;
    EXECUTE concat('DROP VIEW IF EXISTS ', quote_ident(drop_view.schema_name), '.', quote_ident(drop_view.view_name));
    FOREACH stage IN ARRAY stages LOOP
        FOR opener IN
            SELECT t.tgname, t.tgrelid::regclass AS source FROM pg_trigger AS t
            WHERE NOT t.tgisinternal
              AND (t.tgname = concat('stepping_', stage, '__open')
                   OR t.tgfoid = to_regproc(concat('stepping.', quote_ident(stage || '__maintain'))))
        LOOP
            EXECUTE concat('DROP TRIGGER ', quote_ident(opener.tgname), ' ON ', opener.source);
        END LOOP;
        EXECUTE concat('DROP FUNCTION stepping.', quote_ident(stage || '__maintain'), '()');
        FOR belonging IN
            SELECT c.relname FROM pg_class AS c
            WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind = 'r'
              AND (c.relname = stage OR c.relname ~ concat('^', stage, '__aside_[0-9]+$'))
        LOOP
            EXECUTE concat('DROP TABLE stepping.', quote_ident(belonging));
        END LOOP;
    END LOOP;
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
