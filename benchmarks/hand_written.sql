-- The yardstick: what one would write by hand for this one query. Statement triggers in PL/pgSQL on all three
-- tables, double precision sums, the row count and the total of each group. It leaves out what pg_stepping has
-- to do: exact sums, NULL keys, TRUNCATE, several tables changing in one statement, roles without rights on it.

CREATE TABLE daily_usage (
    user_id integer,
    meter_id uuid,
    date date,
    n bigint NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (user_id, meter_id, date)
);

INSERT INTO daily_usage
SELECT m.user_id, m.meter_id, r."timestamp"::date, count(*), sum(r.value)
FROM reads AS r JOIN meters AS m USING (meter_id) JOIN users AS u USING (user_id)
GROUP BY m.user_id, m.meter_id, r."timestamp"::date;

CREATE INDEX ON daily_usage (date);

CREATE FUNCTION follow_reads() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO daily_usage AS d
        SELECT m.user_id, m.meter_id, r."timestamp"::date, count(*), sum(r.value)
        FROM inserted AS r JOIN meters AS m USING (meter_id) JOIN users AS u USING (user_id)
        GROUP BY m.user_id, m.meter_id, r."timestamp"::date
        ON CONFLICT (user_id, meter_id, date) DO UPDATE SET n = d.n + excluded.n, value = d.value + excluded.value;
    ELSIF TG_OP = 'DELETE' THEN
        WITH delta AS (
            SELECT m.user_id, m.meter_id, r."timestamp"::date AS date, count(*) AS n, sum(r.value) AS value
            FROM deleted AS r JOIN meters AS m USING (meter_id)
            GROUP BY m.user_id, m.meter_id, r."timestamp"::date
        ), emptied AS (
            DELETE FROM daily_usage AS d USING delta AS x
            WHERE (d.user_id, d.meter_id, d.date, d.n) = (x.user_id, x.meter_id, x.date, x.n)
        )
        UPDATE daily_usage AS d SET n = d.n - x.n, value = d.value - x.value FROM delta AS x
        WHERE (d.user_id, d.meter_id, d.date) = (x.user_id, x.meter_id, x.date) AND d.n <> x.n;
    ELSE
        WITH delta AS (
            SELECT m.user_id, m.meter_id, r."timestamp"::date AS date, sum(w) AS n, sum(w * r.value) AS value
            FROM (SELECT 1 AS w, i.* FROM inserted AS i UNION ALL SELECT -1, o.* FROM deleted AS o) AS r
            JOIN meters AS m USING (meter_id) JOIN users AS u USING (user_id)
            GROUP BY m.user_id, m.meter_id, r."timestamp"::date
            HAVING sum(w) <> 0 OR sum(w * r.value) <> 0
        ), emptied AS (
            DELETE FROM daily_usage AS d USING delta AS x
            WHERE (d.user_id, d.meter_id, d.date, d.n) = (x.user_id, x.meter_id, x.date, -x.n)
        )
        INSERT INTO daily_usage AS d
        SELECT x.* FROM delta AS x LEFT JOIN daily_usage AS o USING (user_id, meter_id, date)
        WHERE x.n >= 0 OR o.n <> -x.n
        ON CONFLICT (user_id, meter_id, date) DO UPDATE SET n = d.n + excluded.n, value = d.value + excluded.value;
    END IF;
    RETURN NULL;
END
$body$;

CREATE FUNCTION follow_meters() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP IN ('DELETE', 'UPDATE') THEN
        IF TG_OP = 'DELETE' THEN
            DELETE FROM daily_usage AS d USING deleted AS o
            WHERE (d.user_id, d.meter_id) = (o.user_id, o.meter_id);
        ELSE
            DELETE FROM daily_usage AS d USING (TABLE deleted EXCEPT TABLE inserted) AS o
            WHERE (d.user_id, d.meter_id) = (o.user_id, o.meter_id);
        END IF;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO daily_usage
        SELECT i.user_id, i.meter_id, r."timestamp"::date, count(*), sum(r.value)
        FROM inserted AS i JOIN users AS u USING (user_id) JOIN reads AS r USING (meter_id)
        GROUP BY i.user_id, i.meter_id, r."timestamp"::date;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO daily_usage
        SELECT i.user_id, i.meter_id, r."timestamp"::date, count(*), sum(r.value)
        FROM (TABLE inserted EXCEPT TABLE deleted) AS i JOIN users AS u USING (user_id) JOIN reads AS r USING (meter_id)
        GROUP BY i.user_id, i.meter_id, r."timestamp"::date;
    END IF;
    RETURN NULL;
END
$body$;

CREATE FUNCTION follow_users() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM daily_usage AS d USING deleted AS o WHERE d.user_id = o.user_id;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO daily_usage
        SELECT m.user_id, m.meter_id, r."timestamp"::date, count(*), sum(r.value)
        FROM inserted AS u JOIN meters AS m USING (user_id) JOIN reads AS r USING (meter_id)
        GROUP BY m.user_id, m.meter_id, r."timestamp"::date;
    ELSE
        DELETE FROM daily_usage AS d
        USING (SELECT user_id FROM deleted EXCEPT SELECT user_id FROM inserted) AS o WHERE d.user_id = o.user_id;
        INSERT INTO daily_usage
        SELECT m.user_id, m.meter_id, r."timestamp"::date, count(*), sum(r.value)
        FROM (SELECT user_id FROM inserted EXCEPT SELECT user_id FROM deleted) AS u
        JOIN meters AS m USING (user_id) JOIN reads AS r USING (meter_id)
        GROUP BY m.user_id, m.meter_id, r."timestamp"::date;
    END IF;
    RETURN NULL;
END
$body$;

DO $body$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['users', 'meters', 'reads'] LOOP
        EXECUTE format('CREATE TRIGGER follow_insert AFTER INSERT ON %1$I REFERENCING NEW TABLE AS inserted
            FOR EACH STATEMENT EXECUTE FUNCTION %2$I()', t, 'follow_' || t);
        EXECUTE format('CREATE TRIGGER follow_delete AFTER DELETE ON %1$I REFERENCING OLD TABLE AS deleted
            FOR EACH STATEMENT EXECUTE FUNCTION %2$I()', t, 'follow_' || t);
        EXECUTE format('CREATE TRIGGER follow_update AFTER UPDATE ON %1$I
            REFERENCING OLD TABLE AS deleted NEW TABLE AS inserted
            FOR EACH STATEMENT EXECUTE FUNCTION %2$I()', t, 'follow_' || t);
    END LOOP;
END
$body$;
