-- Groups in stripes (docs/concurrency.md): what a sum shows of its values, counted so that it can be added and taken back.

-- What values that are not finite numbers make of a sum. They are counted: NaN by 1, Infinity by 10^18, -Infinity by 10^36.
CREATE OR REPLACE FUNCTION stepping.not_finite(counts numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN counts OPERATOR(pg_catalog.=) 0 THEN 0
    WHEN pg_catalog.mod(counts, 1e18) OPERATOR(pg_catalog.>) 0 THEN numeric 'NaN'
    WHEN counts OPERATOR(pg_catalog.<) 1e36 THEN numeric 'Infinity'
    WHEN pg_catalog.mod(counts, 1e36) OPERATOR(pg_catalog.>) 0 THEN numeric 'NaN'
    ELSE numeric '-Infinity'
END;

-- A value with n digits after the point is counted by 10^(18 n), one that is not finite not at all.
CREATE OR REPLACE FUNCTION stepping.digit_mark(value numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(('1e' OPERATOR(pg_catalog.||) (18 OPERATOR(pg_catalog.*) pg_catalog.scale(value))::text)::numeric, 0);

-- The most digits that any of the values so counted has after the point.
CREATE OR REPLACE FUNCTION stepping.digits(counts numeric) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (pg_catalog.length(pg_catalog.trunc(counts)::text) OPERATOR(pg_catalog.-) 1) OPERATOR(pg_catalog./) 18;
