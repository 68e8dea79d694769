-- What changes in a maintained view, told to whoever asks: to one statement's writer, or in a feed.

-- Appends the rows that went from a view and that came to a setting, as JSON objects, each followed by a comma.
-- Its arguments: the setting, and the view's SELECT over old_rows and over new_rows.
CREATE OR REPLACE FUNCTION stepping.capture_changes() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET extra_float_digits = 1 SET bytea_output = 'hex'
SET datestyle = 'ISO, YMD' SET intervalstyle = 'postgres'
AS $body$
DECLARE
    gone text;
    came text;
BEGIN
    IF TG_OP <> 'INSERT' THEN
        EXECUTE concat(
            'SELECT string_agg(concat(json_build_object(''row'', row_to_json(v), ''count'', -1)::text, '',''), '''')',
            ' FROM (', TG_ARGV[1], ') AS v'
        ) INTO gone;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        EXECUTE concat(
            'SELECT string_agg(concat(json_build_object(''row'', row_to_json(v), ''count'', 1)::text, '',''), '''')',
            ' FROM (', TG_ARGV[2], ') AS v'
        ) INTO came;
    END IF;
    PERFORM set_config(TG_ARGV[0], concat(current_setting(TG_ARGV[0]), gone, came), true);
    RETURN NULL;
END
$body$;
