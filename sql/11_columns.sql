-- The columns that views read, held by ordinary views: Postgres lets nobody drop such a column, or give it another type. Who
-- renames one it lets; then the view names it AS what it was, which stepping.problem() sees. That needs no superuser.

-- Holds what a stage reads of a table, its place among those: the columns of the table where its changes wait, but the last two.
-- No-op where that was done before, so that writers need not wait for it.
CREATE OR REPLACE FUNCTION stepping.hold_columns(stage text, place integer, source regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    logs boolean := stepping.has_logs(stage);
    changes regclass := concat('stepping.', quote_ident(concat(stage, CASE WHEN logs THEN '__log_' ELSE '__aside_' END, place)));
    held text := concat('stepping.', quote_ident(concat(stage, CASE WHEN logs THEN '__logged_' ELSE '__reads_' END, place)));
    columns text[] := trim_array(
        ARRAY(SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = changes AND attnum > 0 ORDER BY attnum), 2
    );
BEGIN
    IF to_regclass(held) IS NULL AND EXISTS (
        SELECT FROM pg_class WHERE oid = source AND relnamespace <> 'stepping'::regnamespace
    ) THEN
        EXECUTE concat(
            'CREATE VIEW ', held, ' AS SELECT ', coalesce(nullif(array_to_string(columns, ', '), ''), 'tableoid'), ' FROM ', source
        );
        EXECUTE concat('COMMENT ON VIEW ', held, ' IS ', quote_literal(concat(
            'What stepping.', stage, ' reads of ', source, ': while this is here, none of these columns goes, or gets another type.'
        )));
    END IF;
END
$body$;

-- The views that hold what some stages read; none of a stage that an older version made.
CREATE OR REPLACE FUNCTION stepping.holding(stages text[]) RETURNS SETOF regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $body$
    SELECT c.oid::regclass
    FROM unnest(stages) AS stage JOIN pg_class AS c ON c.relname ~ concat('^', stage, '__(reads|logged)_[0-9]+$')
    WHERE c.relnamespace = 'stepping'::regnamespace AND c.relkind = 'v'
$body$;
