-- Arithmetic as Python has it, for row functions that are compiled to SQL. All are pure, and inlined where possible.

-- a // b: rounds down, where / of Postgres cuts off.
CREATE OR REPLACE FUNCTION stepping.floor_division(a bigint, b bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN a / b - CASE WHEN mod(a, b) <> 0 AND (a < 0) <> (b < 0) THEN 1 ELSE 0 END;

-- The remainder: has the sign of b, where that of Postgres has that of a.
CREATE OR REPLACE FUNCTION stepping.modulo(a bigint, b bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN mod(a, b) + CASE WHEN mod(a, b) <> 0 AND (a < 0) <> (b < 0) THEN b ELSE 0 END;

-- a / b of two ints: the float nearest to the exact quotient. Ints up to 2^53 are floats; beyond, 64 decimals decide: a tie between two floats has up to 63.
CREATE OR REPLACE FUNCTION stepping.true_division(a bigint, b bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN a = 0
    OR (a BETWEEN -9007199254740992 AND 9007199254740992 AND b BETWEEN -9007199254740992 AND 9007199254740992)
    THEN a::double precision / b::double precision
    ELSE (a::numeric(84, 64) / b)::double precision END;

-- a / b of two floats: NaN / 0 is an error, too.
CREATE OR REPLACE FUNCTION stepping.true_division(a double precision, b double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN b = 0 THEN 1::double precision / b ELSE a / b END;

-- The exact result of a Decimal operation as Python's default context gives it: 28 digits, half to even.
CREATE OR REPLACE FUNCTION stepping.decimal_result(x numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    digits integer := length(ltrim(replace(abs(x)::text, '.', ''), '0'));
    exponent integer := digits - 28 - scale(x);
    unit numeric;
    quotient numeric;
    remainder numeric;
BEGIN
    IF scale(x) IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'numeric_value_out_of_range',
            MESSAGE = concat('a Decimal became ', x),
            HINT = 'Python raises decimal.InvalidOperation for what NaN and infinities may lead to; keep them out of the table.';
    ELSIF digits <= 28 THEN
        RETURN x;
    END IF;
    unit := concat('1e', exponent)::numeric;
    quotient := div(abs(x), unit);
    remainder := abs(x) - quotient * unit;
    IF remainder * 2 > unit OR (remainder * 2 = unit AND mod(quotient, 2) = 1) THEN
        quotient := quotient + 1;
    END IF;
    RETURN sign(x) * quotient * unit;
END
$body$;

CREATE OR REPLACE FUNCTION stepping.decimal(x numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN abs(x) < 1e14 AND scale(x) <= 14 THEN x ELSE stepping.decimal_result(x) END;

-- A Decimal that is compared for order, for which Python raises if it is NaN.
CREATE OR REPLACE FUNCTION stepping.refuse_nan(x numeric) RETURNS numeric
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'numeric_value_out_of_range',
        MESSAGE = 'a Decimal that is NaN has no place in an order',
        HINT = 'Python raises decimal.InvalidOperation here; keep NaN out of the table.';
END
$body$;

CREATE OR REPLACE FUNCTION stepping.ordered(x numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x = 'NaN' THEN stepping.refuse_nan(x) ELSE x END;

-- A date or datetime that was moved: Python has those of the years 1 to 9999, Postgres more.
CREATE OR REPLACE FUNCTION stepping.refuse_year(x text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
AS $body$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'datetime_field_overflow',
        MESSAGE = concat('the date ', x, ' is out of the range of Python'),
        HINT = 'Python raises OverflowError here; keep dates that lead out of the years 1 to 9999 out of the table.';
END
$body$;

CREATE OR REPLACE FUNCTION stepping.in_calendar(x date) RETURNS date
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x < '0001-01-01' OR x > '9999-12-31' THEN stepping.refuse_year(to_char(x, 'YYYY-MM-DD BC'))::date ELSE x END;

CREATE OR REPLACE FUNCTION stepping.in_calendar(x timestamp) RETURNS timestamp
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN x < '0001-01-01' OR x >= '10000-01-01' THEN stepping.refuse_year(to_char(x, 'YYYY-MM-DD BC'))::timestamp ELSE x END;

-- A JSON array as an array of its elements' texts.
CREATE OR REPLACE FUNCTION stepping.texts_of(items jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    SELECT coalesce(array_agg(e.item #>> '{}' ORDER BY e.place), '{}')
    FROM jsonb_array_elements(items) WITH ORDINALITY AS e(item, place)
);

-- How the Python functions of a view's query run, for explain.
CREATE TABLE IF NOT EXISTS stepping.view_function (
    schema_name text NOT NULL,
    view_name text NOT NULL,
    function text NOT NULL,
    place text NOT NULL,
    runs text NOT NULL,
    why text NOT NULL
);

COMMENT ON TABLE stepping.view_function IS
'The Python functions of the queries of maintained views: each runs as SQL or as Python, and why.';

-- Drops the shipped functions that no view calls any more: those whose name, which ends in a hash, no query has.
CREATE OR REPLACE FUNCTION stepping.drop_uncalled() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $body$
DECLARE
    uncalled record;
BEGIN
    FOR uncalled IN
        SELECT p.oid::regprocedure AS signature FROM pg_proc AS p
        WHERE p.pronamespace = 'stepping'::regnamespace
          AND starts_with(obj_description(p.oid, 'pg_proc'), 'pg_stepping: ')
          AND pg_has_role(p.proowner, 'USAGE')
          AND NOT EXISTS (
              SELECT FROM stepping.maintained_view AS v
              WHERE strpos(v.query, substring(p.proname FROM '_[0-9a-f]{12}$')) > 0
          )
        ORDER BY p.prokind, p.oid  -- aggregates before the functions that they are made of
    LOOP
        EXECUTE concat('DROP ROUTINE ', uncalled.signature);
    END LOOP;
    -- Who has no rights on that table has put nothing into it.
    IF has_table_privilege('stepping.view_function', 'DELETE') AND has_table_privilege('stepping.view_function', 'SELECT') THEN
        DELETE FROM stepping.view_function AS f
        WHERE NOT EXISTS (
            SELECT FROM stepping.maintained_view AS v
            WHERE (v.schema_name, v.view_name) = (f.schema_name, f.view_name)
        );
    END IF;
END
$body$;
