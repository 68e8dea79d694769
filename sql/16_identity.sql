-- Logical replication: where a publication has all tables of a schema or of the database, rows of a table without primary key
-- can be changed only if the table says how a row is told from others. A row of ours is told by all its columns.

-- Has the tables of some stages say so, states, rows of keys and logs, and those of the catalog. It runs as who made them. Where a
-- transaction has written before, and its commit will look at a table, that has to wait for the next view that is made.
CREATE OR REPLACE FUNCTION stepping.identify(stages text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    found regclass;
BEGIN
    FOR found IN
        SELECT c.oid FROM pg_class AS c
        WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.relreplident = 'd'
          AND EXISTS (
            SELECT FROM unnest(ARRAY['waiting', 'overdue', 'view_function', 'used', 'suspect'] || stages) AS stage
            WHERE c.relname = stage OR starts_with(c.relname, concat(stage, '__'))
          ) AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
        ORDER BY c.oid
    LOOP
        BEGIN
            EXECUTE concat('ALTER TABLE ', found, ' REPLICA IDENTITY FULL');
        EXCEPTION
            WHEN object_in_use THEN
                NULL;
        END;
    END LOOP;
END
$body$;

-- Before the row of a new view is there, for which every ALTER TABLE would look whether it is in step.
CREATE OR REPLACE FUNCTION stepping.identify_rows() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
BEGIN
    PERFORM stepping.identify(NEW.stages);
    RETURN NEW;
END
$body$;
