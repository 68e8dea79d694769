-- What is timed in process. Every function runs one statement `times` times, or one batch, and returns the
-- microseconds of one. The statements are static, so that PL/pgSQL keeps their plans, and their values are
-- computed beforehand. Whoever calls them rolls back.

CREATE FUNCTION bench.each(start timestamptz, times integer) RETURNS double precision
LANGUAGE sql VOLATILE
RETURN (extract(epoch FROM clock_timestamp() - start) * 1000000 / times)::double precision;

DO $do$
DECLARE
    question record;
BEGIN
    FOR question IN VALUES
        ('insert_one', 'INSERT INTO reads VALUES (meter[i], half_hour[i] + interval ''20 hours'', kwh[i])'),
        ('delete_one', 'DELETE FROM reads WHERE meter_id = meter[i] AND "timestamp" = half_hour[i]'),
        ('update_one', 'UPDATE reads SET value = value + 0.125 WHERE meter_id = meter[i] AND "timestamp" = half_hour[i]'),
        ('update_nothing', 'UPDATE reads SET value = value WHERE meter_id = meter[i] AND "timestamp" = half_hour[i]'),
        ('move_meter', 'UPDATE meters SET user_id = user_id % users + 1 WHERE meter_id = meter[i]'),
        ('rename_user', 'UPDATE users SET name = name || ''.'' WHERE user_id = owner[i]'),
        ('select_key', 'SELECT value INTO STRICT found FROM daily_usage'
            ' WHERE user_id = owner[i] AND meter_id = meter[i] AND date = day[i]'),
        ('select_date', 'SELECT sum(value) INTO STRICT found FROM daily_usage WHERE date = day[i]')
    LOOP
        EXECUTE format($create$
            CREATE FUNCTION bench.%I(times integer) RETURNS double precision LANGUAGE plpgsql AS $body$
            DECLARE
                users integer := (SELECT count(*) FROM users);
                meters integer := (SELECT count(*) FROM meters);
                days integer := (SELECT count(DISTINCT "timestamp"::date) FROM reads WHERE meter_id = bench.meter(1));
                number bigint[] := ARRAY(SELECT i * 7919::bigint %% meters + 1 FROM generate_series(1, times) AS i);
                meter uuid[] := ARRAY(SELECT bench.meter(m) FROM unnest(number) AS m);
                owner integer[] := ARRAY(SELECT (m - 1) %% users + 1 FROM unnest(number) AS m);
                half_hour timestamp[] := ARRAY(SELECT bench.half_hour(i %% days, 0) FROM generate_series(1, times) AS i);
                day date[] := half_hour::date[];
                kwh double precision[] := ARRAY(SELECT bench.kwh(m) FROM unnest(number) AS m);
                found double precision;
                start timestamptz := clock_timestamp();
            BEGIN
                FOR i IN 1..times LOOP
                    %s;
                END LOOP;
                RETURN bench.each(start, times);
            END
            $body$ $create$, question.column1, question.column2);
    END LOOP;
END
$do$;

-- `size` reads in as many groups, from day `first_day` on.
CREATE FUNCTION bench.insert_batch(size integer, groups integer, first_day integer) RETURNS double precision
LANGUAGE plpgsql AS $body$
DECLARE
    meters integer := (SELECT count(*) FROM meters);
    start timestamptz;
BEGIN
    CREATE TEMPORARY TABLE batch ON COMMIT DROP AS
    SELECT
        bench.meter(g % meters + 1) AS meter_id,
        bench.half_hour(first_day + g / meters, 10 + i / groups) AS "timestamp",
        bench.kwh(i) AS value
    FROM generate_series(0, size - 1) AS i, LATERAL (SELECT i % groups AS g) AS grouped;
    start := clock_timestamp();
    INSERT INTO reads TABLE batch;
    RETURN bench.each(start, 1);
END
$body$;

CREATE FUNCTION bench.batch_new_groups(size integer) RETURNS double precision LANGUAGE sql VOLATILE
RETURN bench.insert_batch(size, size, 1000);

CREATE FUNCTION bench.batch_one_day(size integer) RETURNS double precision LANGUAGE sql VOLATILE
RETURN bench.insert_batch(size, size / 10, 1000);

CREATE FUNCTION bench.batch_existing_groups(size integer) RETURNS double precision LANGUAGE sql VOLATILE
RETURN bench.insert_batch(size, size, 0);
