-- CTEs: read once and twice, one by another, nested, unused, with column lists, with names of tables
-- view: once
WITH big AS (SELECT * FROM t WHERE x > 10) SELECT g, count(*) FROM big GROUP BY g
-- view: twice
WITH q AS (SELECT g, x FROM t WHERE x < 40) SELECT a.x AS ax, b.x AS bx FROM q AS a JOIN q AS b USING (g)
-- view: one_by_another
WITH a AS (SELECT id, x + 1 AS y FROM t), b AS (SELECT id, y * 2 AS z FROM a) SELECT b.z, a.y FROM a, b WHERE a.id = b.id
-- view: column_list
WITH q (k, v) AS (SELECT g, x FROM t) SELECT k, sum(v) AS v FROM q AS r (k) GROUP BY k
-- view: nested
SELECT s.n FROM (WITH inside AS (SELECT x AS n FROM t) SELECT n FROM inside WHERE n > 10) AS s
-- view: nested_in_cte
WITH a AS (WITH b AS (SELECT x FROM t WHERE id > 1) SELECT x + 1 AS x FROM b) SELECT x FROM a
-- view: named_as_the_table
WITH t AS (SELECT id, x * 100 AS x FROM t) SELECT id, x FROM t
-- view: inner_name_hides_outer
WITH a AS (SELECT 1 AS one, x FROM t) SELECT p.x, q.x AS y FROM a AS p, (WITH a AS (SELECT x + 1000 AS x FROM t) SELECT x FROM a) AS q
-- view: materialized
WITH m AS MATERIALIZED (SELECT g, x FROM t), n AS NOT MATERIALIZED (SELECT g FROM m) SELECT n.g, count(*) FROM n GROUP BY n.g
-- view: aggregate_inside
WITH totals AS (SELECT g, sum(x) AS total FROM t GROUP BY g) SELECT t.id, totals.total FROM t JOIN totals ON t.g = totals.g
-- view: aggregate_twice
WITH totals AS (SELECT g, sum(x) AS total FROM t GROUP BY g) SELECT a.g, a.total + b.total AS two FROM totals a JOIN totals b ON a.total <= b.total
