-- The catalog of pg_stepping: which views are maintained, and what every view's triggers share.
-- `CREATE EXTENSION pg_stepping` and `pg-stepping init` both run this file, in schema stepping.

CREATE TABLE IF NOT EXISTS stepping.maintained_view (
    schema_name text NOT NULL,
    view_name text NOT NULL,
    query text NOT NULL,
    recompute text NOT NULL,
    language text NOT NULL,
    indexes jsonb NOT NULL,
    settings jsonb NOT NULL,
    reads text[] NOT NULL,
    fingerprint text NOT NULL,
    version text NOT NULL,
    down text NOT NULL,
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
COMMENT ON COLUMN stepping.maintained_view.reads IS
'The maintained views that this one reads, as schema.name.';
COMMENT ON COLUMN stepping.maintained_view.fingerprint IS
'SHA-256 of the plan, the indexes and the settings; equal plans give equal fingerprints.';
COMMENT ON COLUMN stepping.maintained_view.down IS
'The script that drops the view and all that belongs to it.';

-- A row is here only while a statement is running whose changes wait for its last trigger.
CREATE TABLE IF NOT EXISTS stepping.waiting (stage text NOT NULL);

COMMENT ON TABLE stepping.waiting IS
'Stages with changes set aside until the last trigger of the running statement; empty at every commit.';

-- Counts the statements under way on the tables of a stage that joins; its AFTER triggers count down.
-- The count is local to the transaction and goes back with a savepoint.
CREATE OR REPLACE FUNCTION stepping.open_statement() RETURNS trigger
LANGUAGE plpgsql
AS $body$
BEGIN
    PERFORM pg_catalog.set_config(
        TG_ARGV[0],
        (coalesce(nullif(pg_catalog.current_setting(TG_ARGV[0], true), ''), '0')::pg_catalog.int4
            OPERATOR(pg_catalog.+) 1)::pg_catalog.text,
        true
    );
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
        RAISE EXCEPTION 'changes for stepping.% were set aside and never applied', NEW.stage
            USING ERRCODE = 'XX000',
                  HINT = 'The transaction was rolled back. Was a setting named stepping.* changed by hand?';
    END IF;
    RETURN NULL;
END
$body$;

CREATE OR REPLACE FUNCTION stepping.refuse_write() RETURNS trigger
LANGUAGE plpgsql
AS $body$
BEGIN
    RAISE EXCEPTION 'view "%" is maintained by pg_stepping and cannot be written to', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported',
              HINT = 'Change the tables that its query reads; the view follows in the same transaction.';
END
$body$;

-- Takes a view out of the catalog before it is dropped; refuses while another maintained view reads it.
CREATE OR REPLACE FUNCTION stepping.unregister(schema_name text, view_name text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    reader text;
BEGIN
    SELECT concat(v.schema_name, '.', v.view_name) INTO reader
    FROM stepping.maintained_view AS v
    WHERE concat(unregister.schema_name, '.', unregister.view_name) = ANY (v.reads)
    ORDER BY 1 LIMIT 1;
    IF reader IS NOT NULL THEN
        RAISE EXCEPTION 'cannot drop maintained view %.%: % reads it', schema_name, view_name, reader
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop that view first.';
    END IF;
    DELETE FROM stepping.maintained_view AS v
    WHERE v.schema_name = unregister.schema_name AND v.view_name = unregister.view_name;
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
