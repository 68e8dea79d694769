-- What is timed in process: every function runs its statement so many times and returns the seconds it took.
-- The statements are static, so that PL/pgSQL keeps their plans; the caller rolls everything back.

CREATE FUNCTION bench.insert_one(times integer, meters integer, days integer) RETURNS double precision
LANGUAGE plpgsql AS $body$
DECLARE
    start timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1..times LOOP
        INSERT INTO reads VALUES (bench.meter(i * 7919::bigint % meters + 1), bench.half_hour(i % days, 40), bench.kwh(i));
    END LOOP;
    RETURN extract(epoch FROM clock_timestamp() - start);
END
$body$;
