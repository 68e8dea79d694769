"""Queries over all of SELECT, by construct: what must be maintained. The tables are those of SCHEMA."""

SCHEMA = """
CREATE TABLE a (id integer PRIMARY KEY, x integer, y integer, s text, arr integer[]);
CREATE TABLE b (id integer PRIMARY KEY, a_id integer, x integer, y numeric, t text);
CREATE TABLE c (id integer, x integer, y integer NOT NULL, f float8);
CREATE INDEX ON b (a_id);
CREATE INDEX ON c (x);
CREATE AGGREGATE product(integer) (SFUNC = int4mul, STYPE = integer, INITCOND = 1);
CREATE SCHEMA mine;
CREATE AGGREGATE mine.sum(text) (SFUNC = textcat, STYPE = text);
CREATE FUNCTION many(integer) RETURNS SETOF integer IMMUTABLE LANGUAGE sql AS 'SELECT generate_series(1, $1)';
"""

QUERIES = {
    "outer joins": """
        SELECT a.id, b.x FROM a LEFT JOIN b ON b.a_id = a.id
        SELECT a.x, count(*), sum(b.x) FROM a LEFT JOIN b ON b.a_id = a.x GROUP BY a.x
        SELECT a.id, b.id AS bid, c.x FROM a LEFT JOIN b ON b.a_id = a.x LEFT JOIN c ON c.x = b.x
        SELECT a.id, b.id AS bid FROM a FULL JOIN b ON b.a_id = a.x
        SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.x < a.x AND b.a_id = a.y
        SELECT a.id, b.id AS bid FROM a RIGHT JOIN b ON b.x < a.x
        SELECT a.id, q.z FROM a LEFT JOIN (SELECT b.a_id, b.x + 1 AS z, 1 AS one FROM b JOIN c ON c.x = b.x) q ON q.a_id = a.x
        SELECT a.id, q.n FROM a LEFT JOIN (SELECT a_id, count(*) AS n FROM b GROUP BY a_id) q ON q.a_id = a.x
        SELECT a.x, sum(b.y) FROM a LEFT JOIN b ON b.a_id = a.id LEFT JOIN c ON c.x = a.x AND c.y > 1 GROUP BY a.x
        SELECT sum(b.x) FROM b LEFT JOIN a ON a.id = b.a_id WHERE a.x IS NULL OR a.x > 1
        SELECT a.id, count(b.id) FROM a LEFT JOIN b ON b.a_id = a.id GROUP BY a.id
        SELECT a.id, coalesce(q.s, 0) FROM a LEFT JOIN (SELECT a_id, sum(x) AS s FROM b GROUP BY a_id) q ON q.a_id = a.id
        SELECT b.id, a.s, c.f FROM b LEFT JOIN a ON a.id = b.a_id LEFT JOIN c ON c.id = a.x WHERE coalesce(a.x, 0) < 3
        SELECT a.id, b.id AS bid, c.id AS cid FROM a FULL JOIN b ON a.x = b.x FULL JOIN c ON c.x = b.x
        SELECT s FROM a NATURAL LEFT JOIN c
        SELECT id, a.x FROM a FULL JOIN b USING (id)
        SELECT id, x, f FROM a FULL JOIN b USING (id, x) FULL JOIN c USING (id, x)
        SELECT id, c.y FROM (a FULL JOIN b USING (id)) LEFT JOIN c USING (id) WHERE id > 2
        SELECT id, count(*) FROM c RIGHT JOIN (a FULL JOIN b USING (id)) USING (id) GROUP BY id
        SELECT q.id, r.x FROM (SELECT id FROM a FULL JOIN b USING (id)) q JOIN (SELECT x FROM a FULL JOIN c USING (x)) r ON r.x = q.id
        SELECT q.id FROM (SELECT a.id FROM a LEFT JOIN b ON a.id = b.a_id) AS q
        SELECT a.id, q.y FROM a LEFT JOIN (SELECT x, y FROM c ORDER BY x, y LIMIT 5) q ON q.x = a.x
        SELECT a.id, q.z FROM a LEFT JOIN (SELECT x, rank() OVER (PARTITION BY x ORDER BY y) AS z FROM c) q ON q.x = a.x
        SELECT a.id FROM a JOIN (b LEFT JOIN c ON c.id = b.id) ON a.id = b.a_id
    """,
    "whole rows": """
        SELECT a FROM a
        SELECT a.id, row_to_json(a) AS j, a IS NULL AS n, a::text AS t FROM a
        SELECT x, count(a) AS n, array_agg(a ORDER BY id) AS z, count(DISTINCT a) AS d FROM a GROUP BY x
        SELECT a.id, to_jsonb(b) AS j, b IS NULL AS n, count(*) AS c FROM a LEFT JOIN b ON b.a_id = a.x GROUP BY 1, 2, 3
        SELECT a.id, count(b) AS n FROM a LEFT JOIN b ON b.a_id = a.x GROUP BY a.id
        SELECT q.x, row_to_json(q) AS j FROM (SELECT x, y + 1 AS z FROM a) q
        SELECT a.id, row_to_json(v) AS j FROM a JOIN (VALUES (1, 'p'), (2, 'q')) v(k, w) ON v.k = a.x
        SELECT a.id, row_to_json(q) AS j FROM a LEFT JOIN (SELECT b.a_id, b.x + 1 AS z FROM b) q ON q.a_id = a.x
        SELECT b.id, row_to_json(a) AS j, row_to_json(b) AS k FROM a FULL JOIN b ON b.a_id = a.x
        SELECT p.id FROM a p JOIN a q ON p = q
        SELECT a.id, l IS NULL AS n, row_to_json(l) AS j FROM a LEFT JOIN LATERAL (SELECT b.x, b.id FROM b WHERE b.a_id = a.x ORDER BY b.id LIMIT 1) l ON true
    """,
    "semijoins and antijoins": """
        SELECT a.id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.a_id = a.x)
        SELECT a.id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.a_id = a.x AND b.x > 1)
        SELECT a.id FROM a WHERE a.x IN (SELECT b.x FROM b)
        SELECT a.id FROM a WHERE a.x NOT IN (SELECT b.x FROM b)
        SELECT a.id FROM a WHERE a.x NOT IN (SELECT b.x FROM b WHERE b.a_id = a.y)
        SELECT a.id FROM a WHERE a.x = 1 OR EXISTS (SELECT 1 FROM b WHERE b.a_id = a.x)
        SELECT a.id, a.x IN (SELECT b.x FROM b) AS i, EXISTS (SELECT 1 FROM c WHERE c.x > a.x) AS e FROM a
        SELECT a.id FROM a WHERE a.x > ALL (SELECT b.x FROM b WHERE b.a_id = a.y)
        SELECT a.id, a.x = ANY (SELECT b.x FROM b) AS q FROM a
        SELECT b.id FROM b WHERE NOT EXISTS (SELECT FROM a WHERE b.x = ANY (a.arr) AND a.y = b.a_id)
        SELECT b.id, (SELECT count(*) FROM a WHERE b.x = ANY (a.arr)) AS n, EXISTS (SELECT FROM a WHERE b.x = ALL (a.arr)) AS e FROM b
        SELECT b.id, a.id AS aid FROM b LEFT JOIN a ON b.x = ANY (a.arr)
        SELECT a.id, EXISTS (SELECT 1 FROM b WHERE b.a_id = a.x LIMIT 1) AS e, (SELECT true FROM c WHERE c.x = a.x LIMIT 1) AS t FROM a
        SELECT a.id FROM a WHERE (a.x, a.y) IN (SELECT b.x, b.a_id FROM b)
        SELECT a.id FROM a WHERE (a.x, a.y) NOT IN (SELECT b.x, b.a_id FROM b)
        SELECT a.id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.a_id = a.x AND b.x <> a.y)
        SELECT a.id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.a_id = a.x AND EXISTS (SELECT 1 FROM c WHERE c.x = b.x AND c.y = a.y))
        SELECT CASE WHEN EXISTS (SELECT 1 FROM b WHERE b.a_id = a.id) THEN (SELECT min(t) FROM b WHERE b.a_id = a.id) ELSE 'none' END AS z, a.id FROM a
        SELECT a.id FROM a WHERE a.id IN (SELECT b.a_id FROM b GROUP BY b.a_id HAVING sum(b.x) > 2)
        SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM a WHERE x = 1)
        SELECT x FROM c WHERE (x, (SELECT count(*) FROM b WHERE b.a_id = c.x)) IN (SELECT x, y FROM a)
        SELECT x, (SELECT count(*) FROM b WHERE b.a_id = c.x) NOT IN (SELECT y FROM a WHERE a.x = c.x) AS n, (SELECT max(x) FROM a) = ANY (SELECT x FROM b) AS e FROM c
    """,
    "aggregates": """
        SELECT x, min(y), max(y) FROM a GROUP BY x
        SELECT min(y), max(s) FROM a
        SELECT x, array_agg(y ORDER BY id), string_agg(s, ',' ORDER BY id DESC), stddev(y), bool_and(y > 1), percentile_cont(0.5) WITHIN GROUP (ORDER BY y), mode() WITHIN GROUP (ORDER BY y) FROM a GROUP BY x
        SELECT array_agg(y ORDER BY id) FROM a
        SELECT x, sum(f), avg(f), min(f), count(*) FROM c GROUP BY x
        SELECT count(*) FROM a GROUP BY ()
        SELECT sum(x ORDER BY id) FROM a
        SELECT rank(2) WITHIN GROUP (ORDER BY x) FROM a
        SELECT corr(x, y), regr_slope(y, x) FROM a
        SELECT id, x FROM a ORDER BY id
        SELECT x, count(*) FROM a GROUP BY x ORDER BY x
        SELECT x, sum(f) FILTER (WHERE f > 0), stddev(f), var_pop(f) FROM c GROUP BY x
        SELECT s, product(x) AS p, mine.sum(s ORDER BY id) AS all_s FROM a GROUP BY s
        SELECT x FROM a GROUP BY x HAVING max(y) > 1
        SELECT s, max(y) FILTER (WHERE x > 1) AS m, min(y) AS n, count(*) AS k FROM a GROUP BY s
        SELECT x, stddev(y), var_pop(y), avg(y), variance(id) FILTER (WHERE y > 0) AS v FROM a GROUP BY x
        SELECT stddev_samp(y), var_samp(y), stddev_pop(x) FROM b
        SELECT a.x, stddev(b.y) FROM a LEFT JOIN b ON b.a_id = a.x GROUP BY a.x HAVING variance(b.y) IS DISTINCT FROM 0
        SELECT x, regr_count(y, id), regr_avgx(y, id), regr_avgy(y, id), regr_sxx(y, id), regr_syy(y, id), regr_sxy(y, id), covar_pop(y, id), covar_samp(y, id) FROM c GROUP BY x
        SELECT s, corr(y, x), regr_r2(y, x), regr_slope(y, x), regr_intercept(y, x) FROM a WHERE id < 9 GROUP BY s
        SELECT x, variance(DISTINCT y) AS v, covar_pop(y, id) FILTER (WHERE id > 2) AS c, count(DISTINCT s) AS n FROM a GROUP BY x
        SELECT x, bit_and(y), bit_or(y), bit_xor(y), bit_or(id) FILTER (WHERE y > 0) AS o FROM a GROUP BY x
        SELECT bit_and(x), bit_or(x), bit_xor(y), bit_xor(DISTINCT y) AS d FROM a
        SELECT x, bit_and(y::bit(8)) AS a, bit_xor(y::bit(8)) AS o FROM c GROUP BY x
        SELECT var_pop(n) AS v FROM (SELECT a_id, count(*) AS n FROM b GROUP BY a_id) q
        SELECT x, stddev(DISTINCT f) AS v FROM c GROUP BY x
    """,
    "distinct": """
        SELECT x, count(DISTINCT y) AS a, sum(y) AS b, sum(DISTINCT y) AS c FROM a GROUP BY x
        SELECT count(DISTINCT y) FILTER (WHERE x > 1) AS d, count(*) FROM a
        SELECT x, count(DISTINCT (y, s)) AS n, count(DISTINCT y) AS k FROM a GROUP BY x
        SELECT DISTINCT x, y FROM a
        SELECT x, max(y) FILTER (WHERE id > 3), count(DISTINCT s) FROM a GROUP BY x
        SELECT q.x IS DISTINCT FROM 1 AS y FROM (SELECT DISTINCT x FROM a) AS q
    """,
    "grouping sets": """
        SELECT x, y, count(*), grouping(x, y) FROM a GROUP BY ROLLUP (x, y)
        SELECT x, y, sum(id) FROM a GROUP BY GROUPING SETS ((x), (y), ())
        SELECT x, y, count(*) FROM a GROUP BY CUBE (x, y)
        SELECT x, y, count(*) FROM a GROUP BY DISTINCT ROLLUP (x, y), ROLLUP (y, x)
    """,
    "top n": """
        SELECT DISTINCT ON (x) x, y, id FROM a ORDER BY x, y DESC, id
        SELECT a.id, (SELECT b.x FROM b WHERE b.a_id = a.x ORDER BY b.id LIMIT 1) AS bx FROM a
        SELECT id, y FROM a ORDER BY y DESC, id LIMIT 3
        SELECT id, y FROM a ORDER BY y FETCH FIRST 2 ROWS WITH TIES
        SELECT x, count(*) AS n FROM a GROUP BY x ORDER BY count(*) DESC, x LIMIT 2 OFFSET 1
        SELECT a.id, l.bid FROM a LEFT JOIN LATERAL (SELECT b.id AS bid FROM b WHERE b.a_id = a.x ORDER BY b.x, b.id LIMIT 2) l ON true
        SELECT x FROM a UNION SELECT x FROM b ORDER BY 1 DESC LIMIT 2
        SELECT DISTINCT ON (x) x, y FROM a ORDER BY x, y
        SELECT id FROM a ORDER BY id LIMIT 2 * 2 - 1 OFFSET length('a')
        SELECT DISTINCT (SELECT count(DISTINCT b.t) FROM b WHERE b.x = a.x) AS n, a.x FROM a ORDER BY n, x NULLS FIRST LIMIT 3
        SELECT id FROM a ORDER BY id FETCH FIRST (1 + 1) ROWS ONLY
    """,
    "set operations": """
        SELECT x FROM a UNION SELECT x FROM b
        SELECT x FROM a UNION ALL SELECT x FROM b
        SELECT x FROM a INTERSECT SELECT x FROM b
        SELECT x FROM a EXCEPT ALL SELECT x FROM b
        SELECT x FROM a INTERSECT ALL SELECT x FROM b
        SELECT x FROM a EXCEPT SELECT x FROM b
        SELECT u.x, count(*) FROM (SELECT x, y FROM a UNION ALL SELECT x, y FROM b) u GROUP BY u.x
        SELECT q.x, q.n FROM (SELECT x, count(*) AS n FROM a GROUP BY x UNION ALL SELECT x, count(*) FROM b GROUP BY x) q WHERE q.n > 1
    """,
    "what is read more than once": """
        WITH q AS (SELECT x, sum(y) AS s, count(*) AS n FROM a GROUP BY x) SELECT p.x, p.s, q.n FROM q p JOIN q ON q.x = p.n
        WITH q AS (SELECT x, sum(y) AS s FROM a GROUP BY x) SELECT x, s FROM q WHERE s >= (SELECT avg(s) FROM q)
        WITH q AS (SELECT x, sum(y) AS s FROM a GROUP BY x) SELECT p.x, (SELECT count(*) FROM q WHERE q.s < p.s) AS below FROM q p
        WITH q AS (SELECT x, sum(y) AS s FROM a GROUP BY x) SELECT b.id, p.s, q.s AS t FROM b LEFT JOIN q p ON p.x = b.x LEFT JOIN q ON q.x = b.a_id
        WITH q AS (SELECT x, sum(y) AS s FROM a GROUP BY x) SELECT x FROM q EXCEPT SELECT s FROM q
        WITH q AS (SELECT a_id, max(x) AS m, min(y) AS l FROM b GROUP BY a_id) SELECT a.id FROM a WHERE a.x IN (SELECT m FROM q) AND NOT EXISTS (SELECT FROM q WHERE q.l > a.y)
        WITH r AS (SELECT id, x, y, rank() OVER (PARTITION BY x ORDER BY y DESC) AS place FROM a) SELECT p.id, q.id AS next FROM r p LEFT JOIN r q ON q.x = p.x AND q.place = p.place + 1
        WITH r AS (SELECT id, x, y, rank() OVER (PARTITION BY x ORDER BY y DESC) AS place FROM a) SELECT x, max(y) AS best, count(DISTINCT place) AS places FROM r WHERE place < 4 GROUP BY x
        WITH d AS (SELECT DISTINCT x FROM c) SELECT p.x, q.x AS y FROM d p CROSS JOIN d q WHERE p.x < q.x
        WITH q AS (SELECT a.x, b.id FROM b FULL JOIN a ON a.x = b.x) SELECT p.id, q.x FROM q p JOIN q ON q.x = p.x
        WITH q AS (SELECT c.x, a.y FROM c LEFT JOIN a ON a.id <> c.x) SELECT q.x FROM q p JOIN q ON q.x = p.x AND q.y < p.y
        WITH q AS (SELECT x, a_id FROM b ORDER BY x, a_id LIMIT 4) SELECT p.x, q.a_id FROM q p LEFT JOIN q ON q.x = p.x
        WITH RECURSIVE r AS (SELECT id, x FROM a WHERE x = 1 UNION SELECT b.id, b.x FROM r JOIN b ON b.a_id = r.x) SELECT p.id, q.x FROM r p JOIN r q ON p.x = q.id
        SELECT q.x, q.s, t.m FROM (SELECT x, sum(y) AS s FROM a GROUP BY x) q CROSS JOIN (SELECT max(x) AS m FROM b) t
        WITH q AS (SELECT x, count(*) AS n FROM a GROUP BY x) SELECT q.x, q.n, t.n AS total FROM q CROSS JOIN (SELECT sum(n) AS n FROM q) t
    """,
    "subqueries": """
        SELECT a.id, (SELECT count(*) FROM b WHERE b.a_id = a.x) AS n, (SELECT sum(b.x) + 1 FROM b WHERE b.a_id = a.x) AS z FROM a
        SELECT a.id, (SELECT max(b.x) FROM b) AS m FROM a
        SELECT a.id FROM a WHERE a.x > (SELECT avg(c.x) FROM c)
        SELECT x, sum(y) FROM a GROUP BY x HAVING sum(y) > (SELECT count(*) FROM b)
        SELECT a.id, (SELECT b.x FROM b WHERE b.id = a.x) AS bx FROM a
        WITH q AS (SELECT x, count(*) AS n FROM a GROUP BY x) SELECT q1.x, q2.n FROM q q1 JOIN q q2 ON q1.x = q2.n
        SELECT a.id, (SELECT count(*) FROM b WHERE b.x < a.x) AS n FROM a
        SELECT id, ARRAY(SELECT b.x FROM b WHERE b.a_id = a.x ORDER BY b.id DESC) AS y FROM a
        SELECT id, ARRAY(SELECT b.x FROM b ORDER BY b.x, b.id) AS y FROM a
        SELECT a.id FROM a JOIN b ON b.x = (SELECT max(x) FROM c)
        SELECT count(*) FROM a GROUP BY (SELECT max(x) FROM b)
        SELECT a.id FROM a, (SELECT 1 AS one) AS q
        SELECT a.id FROM a WHERE (SELECT count(*) FROM b WHERE b.a_id = a.id) = 0
        SELECT a.id FROM a WHERE a.y = (SELECT max(a2.y) FROM a a2 WHERE a2.x = a.x)
        SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b
        SELECT a.id, (SELECT sum(c.y) FROM c WHERE c.x = a.x AND c.y > (SELECT min(b.x) FROM b WHERE b.a_id = a.y)) AS z FROM a
        SELECT a.id FROM a WHERE (a.x, a.y) = (SELECT b.x, b.a_id FROM b WHERE b.id = a.id)
        SELECT a.id, (a.x, a.y) < (SELECT min(b.x), max(b.a_id) FROM b WHERE b.a_id = a.x) AS t, (a.x, a.y) <> (SELECT max(b.x), 1 FROM b) AS u FROM a
        SELECT a.id, (SELECT product(b.x) FROM b WHERE b.a_id = a.x) AS p, (SELECT regr_count(b.x, b.id) FROM b WHERE b.a_id = a.x) AS r, (SELECT rank(2) WITHIN GROUP (ORDER BY b.x) FROM b WHERE b.a_id = a.y) AS k FROM a
        SELECT a.id, (SELECT array_agg(b.x ORDER BY b.id) FROM b WHERE b.x > a.x) AS z FROM a
        SELECT a.y FROM a WHERE a.y <> ALL (SELECT (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY b.id) FROM b WHERE b.a_id IS NOT DISTINCT FROM a.y) FROM c)
        SELECT a.id, ARRAY(SELECT (SELECT count(*) FROM b WHERE b.a_id IS NOT DISTINCT FROM a.y AND b.x > 1) FROM c) AS s FROM a
        SELECT c.id, g FROM c LEFT JOIN generate_series(1, c.id) AS g ON c.y <= ALL (SELECT a.x FROM a WHERE a.x > 2)
        SELECT a.id, EXISTS (SELECT FROM c WHERE c.y >= (SELECT count(*) FROM b WHERE b.a_id < a.y AND b.x > 2)) AS e FROM a
        SELECT a.id FROM a WHERE EXISTS (SELECT FROM b WHERE b.a_id = a.x ORDER BY b.x LIMIT 1)
    """,
    "aggregates in the order of a subquery": """
        SELECT array_agg(x) FROM (SELECT x FROM b ORDER BY x DESC NULLS FIRST, id) AS q
        SELECT a.id, (SELECT array_agg(x) FROM (SELECT b.x FROM b WHERE b.a_id = a.x ORDER BY b.id DESC) AS q) AS xs FROM a
        SELECT q.x, string_agg(q.s, ',') AS s, count(*) AS n FROM (SELECT x, s FROM a ORDER BY y DESC, id DESC) AS q GROUP BY q.x
        SELECT array_agg(n) FILTER (WHERE n > 1) FROM (SELECT x, count(*) FROM b GROUP BY x ORDER BY count(*) DESC, x) AS q (x, n)
        WITH q AS (SELECT x FROM a UNION SELECT a_id FROM b ORDER BY 1 DESC LIMIT 4) SELECT json_agg(x) #>> '{}' AS j FROM q
        SELECT array_agg(q.ordered_by) AS xs FROM (SELECT x AS ordered_by FROM b ORDER BY id DESC) AS q
        SELECT ARRAY(SELECT q.x FROM (SELECT DISTINCT b.x FROM b ORDER BY b.x DESC) AS q) AS xs
    """,
    "subqueries with HAVING, and aggregates deep in them": """
        SELECT a.id, (SELECT count(*) FROM b HAVING count(*) > 100) AS n FROM a
        SELECT a.id FROM a WHERE a.x NOT IN (SELECT count(*) FROM b HAVING count(*) > 5)
        SELECT a.id, (SELECT count(*) FROM b WHERE b.a_id = a.x HAVING count(*) > 1) AS n FROM a
        SELECT a.id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.a_id = a.x HAVING count(*) > 1)
        SELECT a.id FROM a WHERE a.x <> ALL (SELECT min(b.x) AS m FROM b WHERE b.x > a.x ORDER BY m LIMIT 4)
        SELECT a.id, (SELECT q.s + c.y FROM (SELECT sum(b.x) AS s FROM b WHERE b.a_id = a.x) q, c WHERE c.id = a.id ORDER BY 1 LIMIT 1) AS z FROM a
        SELECT a.id, l.m FROM a LEFT JOIN LATERAL (SELECT max(b.x) AS m, count(*) AS n FROM b WHERE b.a_id = a.x) l ON l.n > 1
        SELECT a.id, l.m FROM a LEFT JOIN LATERAL (SELECT array_agg(b.x ORDER BY b.id) AS m FROM b WHERE b.x > a.x) l ON a.y > 1
        SELECT a.x, (SELECT max(b.x) FROM b WHERE b.a_id = a.x AND b.y > (SELECT min(c.y) FROM c WHERE c.x = a.x)) AS m, count(*) AS n FROM a GROUP BY a.x
        SELECT a.x, count(*) AS n FROM a GROUP BY a.x HAVING (SELECT count(*) FROM b WHERE b.x > (SELECT min(c.x) FROM c WHERE c.y = a.x)) > 0
    """,
    "windows": """
        SELECT x, count(*) AS n, count(*) OVER () AS groups, sum(count(*)) OVER () AS rows FROM a GROUP BY x
        SELECT id, row_number() OVER (PARTITION BY x ORDER BY id) AS rn, sum(y) OVER (PARTITION BY x) AS s FROM a
        SELECT id, rank() OVER (ORDER BY y) AS r FROM a
        SELECT id, lag(y) OVER w, first_value(y) OVER w, count(*) OVER (PARTITION BY y) AS c FROM a WINDOW w AS (PARTITION BY x ORDER BY id)
        SELECT * FROM (SELECT id, x, row_number() OVER (PARTITION BY x ORDER BY y, id) AS rn FROM a) q WHERE rn <= 2
        SELECT x, rank() OVER (ORDER BY sum(y) DESC NULLS LAST) AS r FROM a GROUP BY x
        SELECT id, sum(x) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS s, ntile(2) OVER (ORDER BY id) AS t, nth_value(x, 2) OVER (PARTITION BY y ORDER BY id) AS nv FROM a
        SELECT id, sum(y) OVER (PARTITION BY x ORDER BY id ROWS UNBOUNDED PRECEDING) AS s FROM a
        SELECT id, abs(x) AS over, 1 + rank() OVER (PARTITION BY s ORDER BY x) AS r FROM a
        SELECT id, sum(y) OVER (PARTITION BY x ORDER BY id ROWS 1 PRECEDING) AS s, count(*) OVER (PARTITION BY x ORDER BY id ROWS CURRENT ROW) AS c FROM a
    """,
    "rows from functions": """
        SELECT a.id, u.v FROM a, unnest(a.arr) AS u(v)
        SELECT a.id, g FROM a LEFT JOIN LATERAL generate_series(1, a.x) g ON true
        SELECT a.id, l.m FROM a, LATERAL (SELECT max(b.x) AS m FROM b WHERE b.a_id = a.x) l
        SELECT a.id, v.w FROM a JOIN (VALUES (1, 'one'), (2, 'two')) v(k, w) ON v.k = a.x
        SELECT a.id, l.n, m.z FROM a, LATERAL (SELECT count(*) AS n FROM b WHERE b.a_id = a.id) l, LATERAL (SELECT max(c.y) AS z FROM c WHERE c.x = l.n) m
        SELECT id, unnest(arr) AS e FROM a
        SELECT id, unnest(arr) AS e, generate_series(1, 2) AS g FROM a
        SELECT * FROM ROWS FROM (generate_series(1, 2), generate_series(1, 3)) AS r (p, q), a
        SELECT id, e, n FROM a, unnest(arr) WITH ORDINALITY AS q (e, n)
        SELECT id, many(x) AS m FROM a
        SELECT a.id, e.key FROM a, jsonb_each(jsonb_build_object('x', a.x, 's', a.s)) AS e
        SELECT a.id, r.x, r.y FROM a, jsonb_to_recordset(jsonb_build_array(jsonb_build_object('x', a.x, 'y', a.s))) AS r (x integer, y text)
        SELECT a.id, r.x, r.y FROM a LEFT JOIN json_to_record(json_build_object('x', a.x, 'y', a.y)) AS r (x integer, y numeric) ON r.x > 1
        SELECT sum(x) AS s, generate_series(1, 3) AS g FROM a
        SELECT x, count(*) AS n, generate_series(1, count(*)) AS g FROM a GROUP BY x
        SELECT unnest(arr) AS e, count(*) AS n FROM a GROUP BY 1
        SELECT id, row_number() OVER (PARTITION BY x ORDER BY id) AS r, generate_series(1, 2) AS g FROM a
        SELECT id, generate_series(1, generate_series(1, x)) AS g FROM a
        SELECT g FROM generate_series(0, (SELECT max(x) FROM a)) AS g
        SELECT a.id, g FROM a LEFT JOIN generate_series(1, (SELECT count(*) FROM b WHERE b.a_id = a.x)) AS g ON g > 1
        SELECT a.id, v.k, v.n FROM a, LATERAL (VALUES (1, (SELECT count(*) FROM b WHERE b.a_id = a.x)), (2, a.y)) v(k, n)
        SELECT v.k, v.n FROM (VALUES (1, (SELECT count(*) FROM a)), (2, (SELECT max(x) FROM b))) v(k, n)
        WITH v(k, w) AS (VALUES (1, 'p'), (2, 'q')) SELECT v.w, count(a.id) FROM v LEFT JOIN a ON a.x = v.k GROUP BY v.w
        VALUES (1), (2) UNION ALL SELECT x FROM a
        SELECT a.id, r.n, r.t FROM a, ROWS FROM (generate_series(1, a.x), unnest(ARRAY['p', 'q'])) AS r(n, t)
        SELECT unnest(ARRAY[(SELECT max(x) FROM a), x]) AS u FROM c
        SELECT id, l.n FROM a JOIN LATERAL (SELECT b.a_id AS id, b.x + a.y AS n FROM b) l USING (id)
        SELECT id, l.n FROM a LEFT JOIN LATERAL (SELECT b.a_id AS id, b.x + a.y AS n FROM b WHERE b.x = a.x) l USING (id)
        SELECT x, a.y FROM a NATURAL JOIN LATERAL (SELECT c.x, c.y + a.id AS k FROM c WHERE c.id <> a.id) l
        SELECT x, a.y, g.o FROM a LEFT JOIN unnest(a.arr) WITH ORDINALITY AS g(x, o) USING (x)
        SELECT x, a.id, g.o FROM a FULL JOIN unnest('{1,2}'::integer[]) WITH ORDINALITY AS g(x, o) USING (x)
        SELECT a.id, b.id AS bid, e FROM a LEFT JOIN (b JOIN unnest(a.arr) AS u(e) ON u.e = b.x) ON b.a_id = a.x
        SELECT a.id, l.n, c.y FROM a JOIN (LATERAL (SELECT count(*) AS n FROM b WHERE b.a_id = a.x) l LEFT JOIN c ON c.x = l.n) ON true
        SELECT a.id, u.e, b.x FROM a LEFT JOIN (unnest(a.arr) u(e) LEFT JOIN ((SELECT * FROM b) b JOIN LATERAL (SELECT c.y FROM c WHERE c.x = a.y) l ON l.y = b.x) ON b.x = e) ON u.e = a.x
        SELECT a.id, row_to_json(l) AS j, row_to_json(b) AS k FROM a LEFT JOIN (b JOIN LATERAL (SELECT c.y + a.y AS z FROM c WHERE c.x = b.x) l ON true) ON b.a_id = a.x
    """,
    "several stages": """
        SELECT sum(n) FROM (SELECT x, max(y) AS n FROM a GROUP BY x) q
        SELECT g, count(*) FROM (SELECT CASE WHEN x > 1 THEN 'big' ELSE 'small' END AS g FROM a) q GROUP BY g
        SELECT max(n) AS m FROM (SELECT a_id, count(*) AS n FROM b GROUP BY a_id) q
        SELECT a_id, n FROM (SELECT a_id, count(*) AS n FROM b GROUP BY a_id) q WHERE n = (SELECT max(n) FROM (SELECT a_id, count(*) AS n FROM b GROUP BY a_id) r)
    """,
    "subqueries in GROUP BY": """
        SELECT NOT EXISTS (SELECT b.id FROM b WHERE b.a_id <= v.k) AS e FROM (VALUES (1, 'p'), (2, 'q'), (2, NULL)) v(k, w) GROUP BY 1
        SELECT (SELECT max(b.x) FROM b WHERE b.a_id = a.x) AS m, count(*), sum(a.y) FROM a GROUP BY (SELECT max(b.x) FROM b WHERE b.a_id = a.x)
        SELECT coalesce((SELECT max(b.x) FROM b WHERE b.a_id = a.x), 0) + 1 AS m, a.y IN (SELECT x FROM c) AS i, count(*) FROM a GROUP BY coalesce((SELECT max(b.x) FROM b WHERE b.a_id = a.x), 0), a.y IN (SELECT x FROM c)
        SELECT count(*) FROM a GROUP BY (SELECT max(b.x) FROM b WHERE b.a_id = a.x) HAVING (SELECT max(b.x) FROM b WHERE b.a_id = a.x) > 0 OR count(*) > 1
        SELECT (SELECT max(b.x) FROM b WHERE b.a_id = a.x) AS m, a.y, count(*) FROM a GROUP BY GROUPING SETS (((SELECT max(b.x) FROM b WHERE b.a_id = a.x)), (a.y))
        SELECT a.id, (SELECT max(c.x) FROM c WHERE c.x = a.x) AS m, count(b.id) FROM a LEFT JOIN b ON b.a_id = a.id GROUP BY a.id
        SELECT a.id, row_number() OVER (PARTITION BY EXISTS (SELECT 1 FROM b WHERE b.x = a.y) ORDER BY a.id) AS e FROM a
    """,
    "subqueries in ON and in FROM": """
        SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.a_id = a.x AND b.y = (SELECT max(b2.y) FROM b b2 WHERE b2.a_id = a.x)
        SELECT a.id, b.id AS bid FROM a LEFT JOIN b ON b.id = (SELECT max(c.x) FROM c)
        SELECT a.id, b.id AS bid, c.y FROM a LEFT JOIN b ON b.a_id = a.x AND NOT EXISTS (SELECT 1 FROM b n WHERE n.a_id = b.a_id AND n.id > b.id) LEFT JOIN c ON c.x = b.x
        SELECT a.id, q.z FROM a LEFT JOIN (SELECT b.a_id, b.x + 1 AS z FROM b) q ON q.a_id = a.x AND q.z IN (SELECT c.x FROM c WHERE c.y > a.y)
        SELECT a.x, count(b.id) FROM a LEFT JOIN b ON b.x > (SELECT min(c.x) FROM c WHERE c.y = a.y) GROUP BY a.x
        SELECT a.id FROM a WHERE EXISTS (SELECT 1 FROM (SELECT b.x FROM b WHERE b.a_id < a.x) q JOIN (SELECT DISTINCT c.x FROM c WHERE c.y > a.y) r ON r.x = q.x)
        SELECT a.id, (SELECT count(*) FROM b LEFT JOIN (SELECT c.x, max(c.y) AS m FROM c WHERE c.y < a.y GROUP BY c.x) q ON q.x = b.x WHERE b.a_id = a.x AND q.m IS NULL) AS n FROM a
        SELECT a.id, l.s FROM a, LATERAL (SELECT sum(q.x) AS s FROM b JOIN (SELECT c.x FROM c WHERE c.y >= a.y AND NOT EXISTS (SELECT 1 FROM b b2 WHERE b2.x = c.x AND b2.id > a.id)) q ON q.x = b.x) l
        SELECT a.id FROM a WHERE a.x IN (SELECT b.x FROM b WHERE b.y > a.y AND EXISTS (SELECT 1 FROM c WHERE c.x = b.x AND c.y <> a.x))
        SELECT b.id, a.id AS aid FROM a RIGHT JOIN b ON a.x = (SELECT max(c.x) FROM c WHERE c.y = b.x)
        SELECT a.id, b.id AS bid FROM a FULL JOIN b ON a.x = b.a_id AND EXISTS (SELECT 1 FROM c WHERE c.x = a.y)
        SELECT a.id, b.id AS bid FROM a LEFT JOIN (b JOIN c ON c.x = b.x) ON a.x = b.a_id AND a.y IN (SELECT c2.x FROM c c2 WHERE c2.y > b.x)
        SELECT y AS place, max(x) AS m FROM a GROUP BY y
    """,
    "recursion": """
        WITH RECURSIVE r AS (SELECT id, x FROM a WHERE x = 1 UNION SELECT b.id, b.x FROM r JOIN b ON b.a_id = r.x) SELECT id, x FROM r
        WITH RECURSIVE r(n, d) AS (SELECT x, 0 FROM a WHERE id < 4 UNION ALL SELECT b.x, r.d + 1 FROM r, b WHERE b.a_id = r.n AND r.d < 3) SELECT n, d, count(*) AS k FROM r GROUP BY n, d
        WITH RECURSIVE reach AS (SELECT a_id AS f, x AS t FROM b UNION SELECT reach.f, b.x FROM reach JOIN b ON b.a_id = reach.t) SELECT a.id, reach.t FROM a JOIN reach ON reach.f = a.x
        WITH RECURSIVE s(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM s WHERE n < (SELECT max(x) FROM a)) SELECT s.n, a.id FROM s JOIN a ON a.x = s.n
        WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < 5) SELECT s.n, a.id FROM s JOIN a ON a.x = s.n
        WITH RECURSIVE delta(n, d) AS (SELECT x, 0 FROM a UNION ALL SELECT b.x, delta.d + 1 FROM delta JOIN b ON b.a_id = delta.n LEFT JOIN c ON c.x = b.x WHERE delta.d < 3) SELECT n, d FROM delta
        WITH RECURSIVE reach AS (SELECT a_id AS f, x AS t FROM b UNION SELECT reach.f, b.x FROM reach JOIN b ON b.a_id = reach.t WHERE NOT EXISTS (SELECT 1 FROM c WHERE c.x = b.x)) SELECT f, t FROM reach
        WITH RECURSIVE r AS (SELECT x FROM a UNION SELECT b.x FROM r LEFT JOIN b ON b.a_id = r.x LEFT JOIN c ON c.x = b.x AND c.y > 1) SELECT x FROM r
        WITH RECURSIVE r(n, x) AS (SELECT id, x FROM a WHERE x = 1 UNION ALL SELECT b.id, b.x FROM r, b WHERE b.a_id = r.x) CYCLE n SET is_cycle USING path SELECT n, x, is_cycle FROM r
        WITH RECURSIVE r AS (SELECT id, x FROM a WHERE x = 1 UNION SELECT b.id, b.x FROM r JOIN b ON b.a_id = r.x) CYCLE id, x SET c TO 1 DEFAULT 0 USING path SELECT id, x, c FROM r
        WITH RECURSIVE r AS (SELECT id, x, 0 AS d FROM a UNION ALL SELECT b.id, b.x, r.d + 1 FROM r JOIN b ON b.a_id = r.x WHERE r.d < 2) SEARCH DEPTH FIRST BY id SET o SELECT id, x, row_number() OVER (ORDER BY o, x) AS place FROM r
        WITH RECURSIVE r AS (SELECT id, x, 0 AS d FROM a UNION ALL SELECT b.id, b.x, r.d + 1 FROM r JOIN b ON b.a_id = r.x WHERE r.d < 2) SEARCH BREADTH FIRST BY x, id SET o SELECT id, x, d FROM r ORDER BY o DESC, d, id, x LIMIT 4
        WITH RECURSIVE r AS (SELECT id, x FROM a WHERE x > 0 UNION SELECT b.id, b.x FROM r JOIN b ON b.a_id = r.x) SEARCH DEPTH FIRST BY id SET o CYCLE id SET is_cycle USING path SELECT id, x FROM r WHERE NOT is_cycle ORDER BY o
        WITH RECURSIVE r AS (SELECT x FROM a WHERE id < 3 UNION SELECT b.x FROM r LEFT JOIN b ON b.a_id > r.x) SELECT x FROM r
        WITH RECURSIVE r(n, d) AS (SELECT x, 0 FROM a WHERE id < 3 UNION ALL SELECT b.x, r.d + 1 FROM r LEFT JOIN b ON b.a_id <> r.n AND b.y > 1 WHERE r.d < 2) SELECT n, d, count(*) AS k FROM r GROUP BY n, d
        WITH RECURSIVE r AS (SELECT a.x, 0 AS d FROM a UNION SELECT b.x, r.d FROM r JOIN (b RIGHT JOIN a ON b.y <> a.id) ON a.y = r.x) SELECT x, d FROM r
        SELECT id, (WITH RECURSIVE n AS (SELECT 1 AS k UNION ALL SELECT k + 1 FROM n WHERE k < a.x) SELECT sum(k) FROM n) AS s FROM a
        SELECT id, (WITH RECURSIVE n AS (SELECT b.id AS k FROM b WHERE b.a_id = a.x UNION SELECT b.id FROM n JOIN b ON b.a_id = n.k WHERE b.x <> a.y) SELECT count(*) FROM n) AS s FROM a
    """,
    "constants and mixtures": """
        SELECT a.id FROM a WHERE EXISTS (SELECT 1 FROM (VALUES (0, '')) v(k, w) WHERE v.k = a.x)
        SELECT v.k FROM (VALUES (0), (1)) v(k) WHERE EXISTS (SELECT 1 FROM a WHERE a.x < v.k)
        SELECT v.k, b.id FROM (VALUES (0), (2)) v(k) FULL JOIN b ON v.k = b.x
        SELECT DISTINCT ON (b.x) b.y FROM b ORDER BY b.x, b.y, b.id LIMIT 3
        SELECT v.k, (SELECT count(*) FROM b WHERE b.a_id < v.k) AS n FROM (VALUES (1), (NULL)) v(k)
        SELECT a.id FROM a WHERE a.x <> ALL (SELECT min(b.x) FROM b WHERE b.a_id = a.x)
        SELECT a.id FROM a WHERE a.x NOT IN (SELECT count(*) FROM b WHERE b.a_id = a.x)
        SELECT q.y FROM b p FULL JOIN a q ON p.id = q.id LEFT JOIN b r ON q.x = r.id
        SELECT p.x FROM a p RIGHT JOIN (a q FULL JOIN b r ON q.y = r.x) ON p.y = q.y
        SELECT o.id FROM b o LEFT JOIN (b p LEFT JOIN (b q JOIN a r ON q.y = r.x) ON p.a_id = r.x) ON o.x = q.x
        SELECT t1.id, t4.v FROM a t1 RIGHT JOIN (SELECT unnest(t6.arr) AS v FROM c t5 LEFT JOIN a t6 ON true) t4 ON t1.x <> t4.v WHERE t1.x <> 0
        SELECT x FROM a UNION ALL SELECT t.k FROM (VALUES (1), (2)) t(k) GROUP BY ROLLUP (t.k)
        SELECT a.id, q.r FROM a FULL JOIN (SELECT k, rank() OVER (PARTITION BY k % 2 ORDER BY k) AS r FROM (VALUES (0), (2), (9)) v(k)) q ON q.k = a.x
        SELECT a.x, max(q.m) AS m FROM a LEFT JOIN (SELECT k % 2 AS p, percentile_disc(0.5) WITHIN GROUP (ORDER BY k) AS m FROM generate_series(1, 9) k GROUP BY k % 2) q ON q.p = a.x GROUP BY a.x
        SELECT id FROM a WHERE x NOT IN (SELECT k FROM (VALUES (1), (2), (3)) v(k) ORDER BY k LIMIT 2)
        SELECT t FROM b GROUP BY t HAVING t IN (SELECT s COLLATE "C" FROM a)
        SELECT p.t FROM b p RIGHT JOIN c q ON p.id = q.x JOIN generate_series(1, p.x) r(e) ON true
        SELECT (SELECT sum(q.x) FROM b q, (SELECT p.t FROM b p ORDER BY p.id LIMIT 2) r) AS z FROM b o
        SELECT x, string_agg(DISTINCT s, ',' ORDER BY s) AS z FROM a GROUP BY x
        SELECT x, sum(y) AS s, (SELECT sum(y) FROM a) AS q FROM a GROUP BY x
        SELECT x, sum((SELECT count(*) FROM b WHERE b.a_id = a.id)) AS q FROM a GROUP BY x
        SELECT count(*) AS n FROM (SELECT b.x FROM b ORDER BY b.x LIMIT 2) q
        SELECT r.e FROM b p LEFT JOIN a q ON p.id = q.x LEFT JOIN unnest(q.arr) r(e) ON true
        SELECT y, count(*) FILTER (WHERE (SELECT max(p.y) FROM c p) > x) AS z FROM c GROUP BY y
        SELECT q.id, unnest(p.arr) AS e FROM a q LEFT JOIN a p ON p.y = q.id
    """,
}

CASES = [(section, q.strip()) for section, queries in QUERIES.items() for q in queries.strip().splitlines()]
