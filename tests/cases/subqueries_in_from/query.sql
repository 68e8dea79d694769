-- Subqueries in FROM: renamed, nested, filtered, joined, with a column list
-- view: renamed
SELECT q.who, q.twice + 1 AS n FROM (SELECT meter AS who, value * 2 AS twice FROM reads) AS q
-- view: column_list
SELECT q.a, q.b, q.value FROM (SELECT meter, at::date, value FROM reads) AS q (a, b) WHERE q.value > 4
-- view: nested
SELECT x + 1 AS y FROM (SELECT v * 2 AS x FROM (SELECT value - 1 AS v, meter FROM reads WHERE value > 1) AS a WHERE meter < 3) AS b
-- view: joined
SELECT m.owner, d.day, d.value FROM (SELECT meter AS m, at::date AS day, value FROM reads WHERE value > 5) AS d JOIN meters AS m ON m.meter = d.m
-- view: join_inside
SELECT owner, sum(value) FROM (SELECT m.owner, r.value FROM meters m JOIN reads r USING (meter)) AS j GROUP BY owner
-- view: stars
SELECT * FROM (SELECT * FROM reads) AS a JOIN (SELECT meter, owner FROM meters) AS b USING (meter)
-- view: grouped_over_it
SELECT day, count(*) AS n, sum(value) FROM (SELECT at::date AS day, value FROM reads) AS d GROUP BY day
-- view: unused_columns
SELECT a FROM (SELECT meter AS a, at AS b, value AS c FROM reads) AS q
-- view: same_names
SELECT q.value FROM (SELECT r.value, r.meter FROM reads AS r) AS q JOIN (SELECT r.owner, r.meter FROM meters AS r) AS r USING (meter)
