-- The seed's tables, and the data they are preloaded with: every contender's database is a copy of this.
-- No foreign keys: their checks would cost every contender the same and hide the difference.

CREATE TABLE users (user_id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE meters (meter_id uuid PRIMARY KEY, user_id integer NOT NULL);
CREATE TABLE reads (meter_id uuid NOT NULL, "timestamp" timestamp NOT NULL, value double precision NOT NULL);
CREATE INDEX ON meters (user_id);
CREATE INDEX ON reads (meter_id, "timestamp");

CREATE SCHEMA bench;

-- Meter 17 is 00000000-0000-0000-0000-000000000017.
CREATE FUNCTION bench.meter(number bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN lpad(number::text, 32, '0')::uuid;

-- Day 0 is the first with reads; they come in half hours, as in the seed.
CREATE FUNCTION bench.half_hour(day bigint, number bigint) RETURNS timestamp
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN timestamp '2024-01-01' + (day * 48 + number) * interval '30 minutes';

-- 0.000 to 2.999 kWh, always the same for the same number.
CREATE FUNCTION bench.kwh(number bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (number * 7919 % 3000)::double precision / 1000;

CREATE PROCEDURE bench.load(users integer, meters integer, days integer, reads_a_day integer)
LANGUAGE sql
AS $body$
    INSERT INTO users SELECT u, 'user ' || u FROM generate_series(1, users) AS u;
    INSERT INTO meters SELECT bench.meter(m), (m - 1) % users + 1 FROM generate_series(1, meters) AS m;
    INSERT INTO reads
    SELECT bench.meter(m), bench.half_hour(d, h), bench.kwh(m * 31 + d * 7 + h)
    FROM generate_series(0, days - 1) AS d,
        generate_series(0, reads_a_day - 1) AS h,
        generate_series(1, meters) AS m;
$body$;
