-- A feed of changes: a table with a row for each row that came (count 1) and that went (-1), numbered by position.
-- Writers take the feed's lock before they change the state, until they commit: so positions are committed in
-- their order, and whoever has read up to a position has missed nothing before it. Its argument: the feed.
CREATE OR REPLACE FUNCTION stepping.lock_feed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
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

-- Feeds made by an earlier version run this; others a function of their own, `<state>__record`, whose statements are
-- planned once a session. Its arguments: the feed with its columns, and the view's SELECT over old_rows and over new_rows.
-- It runs what they say, so it has the rights of who writes the state: the view's owner, by its trigger function.
CREATE OR REPLACE FUNCTION stepping.record_changes() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
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
