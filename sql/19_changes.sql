-- What changes in a maintained view, told to whoever asks: to one statement's writer, or in a feed.

-- Appends what went from a view and what came to a setting, each row an array in JSON, followed by a comma. Its arguments:
-- the setting, a SELECT that makes this text of old_rows, one of new_rows, and the view: who sets the setting must be one
-- who may read it.
CREATE OR REPLACE FUNCTION stepping.gather_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 SET bytea_output = 'hex'
SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres' SET timezone = 'UTC'
AS $body$
DECLARE
    writer name := coalesce(nullif(current_setting('role'), 'none'), session_user);
    gone text;
    came text;
BEGIN
    IF NOT has_table_privilege(writer, TG_ARGV[3], 'SELECT')
        OR (SELECT c.relrowsecurity FROM pg_class AS c WHERE c.oid = TG_RELID) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = concat('role ', writer, ' may not see what changes in view ', TG_ARGV[3]),
            HINT = 'An action returns that: GRANT SELECT on the view, without row security, or write by SQL.';
    END IF;
    IF TG_OP <> 'INSERT' THEN
        EXECUTE TG_ARGV[1] INTO gone;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE TG_ARGV[2] INTO came;
    END IF;
    PERFORM set_config(TG_ARGV[0], concat(current_setting(TG_ARGV[0]), gone, came), true);
    RETURN NULL;
END
$body$;

-- Runs a statement of the caller's, and returns what the settings gather meanwhile. The statement reads its parameters,
-- each a text, as $1[1], $1[2] ...
CREATE OR REPLACE FUNCTION stepping.gathered(settings text[], statement text, given text[]) RETURNS text[]
LANGUAGE plpgsql
AS $body$
DECLARE
    setting text;
    found text[];
BEGIN
    FOREACH setting IN ARRAY settings LOOP
        PERFORM pg_catalog.set_config(setting, '[', true);
    END LOOP;
    EXECUTE statement USING given;
    FOREACH setting IN ARRAY settings LOOP
        found := pg_catalog.array_append(found, pg_catalog.current_setting(setting));
        PERFORM pg_catalog.set_config(setting, '', true);
    END LOOP;
    RETURN found;
END
$body$;

-- A feed of changes: a table with a row for each row that came (count 1) and that went (-1), numbered by position.
-- Writers take the feed's lock before they change the state, until they commit: so positions are committed in
-- their order, and whoever has read up to a position has missed nothing before it. Its argument: the feed.
CREATE OR REPLACE FUNCTION stepping.lock_feed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'feature_not_supported',
            MESSAGE = 'a view whose changes are recorded cannot be emptied in a transaction of this isolation level',
            HINT = 'TRUNCATE its tables at READ COMMITTED.';
    END IF;
    PERFORM pg_advisory_xact_lock(1937007984, hashtext(TG_ARGV[0]));
    RETURN NULL;
END
$body$;

-- Its arguments: the feed with its columns, and the view's SELECT over old_rows and over new_rows.
CREATE OR REPLACE FUNCTION stepping.record_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        EXECUTE concat('INSERT INTO ', TG_ARGV[0], ' SELECT -1, v.* FROM (', TG_ARGV[1], ') AS v');
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE concat('INSERT INTO ', TG_ARGV[0], ' SELECT 1, v.* FROM (', TG_ARGV[2], ') AS v');
    END IF;
    RETURN NULL;
END
$body$;
