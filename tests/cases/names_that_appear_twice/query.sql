-- Subqueries with two outputs of one name, and with none
-- view: renamed_by_list
SELECT q.a, q.b FROM (SELECT t.x, u.x FROM t JOIN u USING (id)) AS q (a, b)
-- view: not_read
SELECT q.id FROM (SELECT t.*, u.x FROM t JOIN u USING (id)) AS q
-- view: unnamed
SELECT q.a + 1 AS b FROM (SELECT id + 1, x + 1 FROM t) AS q (a, c)
-- view: grouped
SELECT q.a, q.c FROM (SELECT id, count(*), count(x) FROM u GROUP BY id) AS q (a, b, c)
-- view: no_columns_read
SELECT count(*) AS n FROM (SELECT FROM t) AS q
-- view: question_column
SELECT id, x + 1, upper('a' || x) FROM t
-- view: ours
SELECT id AS place, max(x) AS touched, max(x * 2) AS afresh, sum(x::float8) AS n FROM u GROUP BY id
