-- What is timed in process: every function runs its statement `times` times and returns the microseconds of one.
-- The statements are static, so that PL/pgSQL keeps their plans; the caller rolls everything back.
-- The reads that are there: `days` days, each meter 5 half hours a day. Number 48 and up is the day after.

CREATE FUNCTION bench.shape(OUT meters integer, OUT days integer, OUT users integer)
LANGUAGE sql STABLE AS $body$
    SELECT (SELECT count(*) FROM meters), (max("timestamp")::date - date '2024-01-01') + 1, (SELECT count(*) FROM users)
    FROM reads WHERE meter_id = bench.meter(1)
$body$;

-- Microseconds since `start` for each of so many times.
CREATE FUNCTION bench.each(start timestamptz, times integer) RETURNS double precision
LANGUAGE sql VOLATILE AS $body$
    SELECT (extract(epoch FROM clock_timestamp() - start) * 1000000 / times)::double precision
$body$;

CREATE FUNCTION bench.insert_one(times integer) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    there record := bench.shape();
    start timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1..times LOOP
        INSERT INTO reads VALUES (
            bench.meter(i * 7919::bigint % there.meters + 1), bench.half_hour(i % there.days, 40), bench.kwh(i)
        );
    END LOOP;
    RETURN bench.each(start, times);
END
$body$;

CREATE FUNCTION bench.delete_one(times integer) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    there record := bench.shape();
    start timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1..times LOOP
        DELETE FROM reads
        WHERE meter_id = bench.meter(i * 7919::bigint % there.meters + 1)
            AND "timestamp" = bench.half_hour(i % there.days, 2);
    END LOOP;
    RETURN bench.each(start, times);
END
$body$;

CREATE FUNCTION bench.update_one(times integer) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    there record := bench.shape();
    start timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1..times LOOP
        UPDATE reads SET value = value + 0.125
        WHERE meter_id = bench.meter(i * 7919::bigint % there.meters + 1)
            AND "timestamp" = bench.half_hour(i % there.days, 3);
    END LOOP;
    RETURN bench.each(start, times);
END
$body$;

CREATE FUNCTION bench.update_nothing(times integer) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    there record := bench.shape();
    start timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1..times LOOP
        UPDATE reads SET value = value
        WHERE meter_id = bench.meter(i * 7919::bigint % there.meters + 1)
            AND "timestamp" = bench.half_hour(i % there.days, 4);
    END LOOP;
    RETURN bench.each(start, times);
END
$body$;

CREATE FUNCTION bench.move_meter(times integer) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    there record := bench.shape();
    start timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1..times LOOP
        UPDATE meters SET user_id = user_id % there.users + 1
        WHERE meter_id = bench.meter(i * 7919::bigint % there.meters + 1);
    END LOOP;
    RETURN bench.each(start, times);
END
$body$;

CREATE FUNCTION bench.rename_user(times integer) RETURNS double precision LANGUAGE plpgsql AS $body$
DECLARE
    there record := bench.shape();
    start timestamptz := clock_timestamp();
BEGIN
    FOR i IN 1..times LOOP
        UPDATE users SET name = name || '.' WHERE user_id = i * 79 % there.users + 1;
    END LOOP;
    RETURN bench.each(start, times);
END
$body$;

-- Reads of as many meters as `groups` over `group_days` days from `day` on, until there are `size` of them.
CREATE FUNCTION bench.insert_batch(size integer, day integer, group_days integer) RETURNS double precision
LANGUAGE plpgsql AS $body$
DECLARE
    meters integer := (bench.shape()).meters;
    start timestamptz := clock_timestamp();
BEGIN
    INSERT INTO reads
    SELECT
        bench.meter(i % meters + 1),
        bench.half_hour(day + (i / meters) % group_days, 20 + i / meters / group_days),
        bench.kwh(i)
    FROM generate_series(0, size - 1) AS i;
    RETURN bench.each(start, 1);
END
$body$;

CREATE FUNCTION bench.batch_new_groups(size integer) RETURNS double precision LANGUAGE sql VOLATILE
RETURN bench.insert_batch(size, 1000, 100);

CREATE FUNCTION bench.batch_one_day(size integer) RETURNS double precision LANGUAGE sql VOLATILE
RETURN bench.insert_batch(size, 1000, 1);

CREATE FUNCTION bench.batch_existing_groups(size integer) RETURNS double precision LANGUAGE sql VOLATILE
RETURN bench.insert_batch(size, 0, 20);

CREATE FUNCTION bench.select_by_key(times integer, source regclass) RETURNS double precision
LANGUAGE plpgsql AS $body$
DECLARE
    there record := bench.shape();
    took double precision;
BEGIN
    EXECUTE format($loop$
        CREATE FUNCTION pg_temp.select_by_key(times integer, meters integer, days integer, users integer)
        RETURNS double precision LANGUAGE plpgsql AS $code$
        DECLARE
            m bigint;
            found double precision;
            start timestamptz := clock_timestamp();
        BEGIN
            FOR i IN 1..times LOOP
                m := i * 7919::bigint %% meters + 1;
                SELECT value INTO STRICT found FROM %s
                WHERE user_id = (m - 1) %% users + 1 AND meter_id = bench.meter(m) AND date = date '2024-01-01' + i %% days;
            END LOOP;
            RETURN bench.each(start, times);
        END
        $code$ $loop$, source);
    EXECUTE 'SELECT pg_temp.select_by_key($1, $2, $3, $4)' INTO took USING times, there.meters, there.days, there.users;
    RETURN took;
END
$body$;
