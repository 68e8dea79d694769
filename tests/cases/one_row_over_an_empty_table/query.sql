-- No GROUP BY: always one row, also over an empty table
-- view: plain
SELECT count(*) AS n, count(n) AS known, sum(n) AS total, avg(n) AS average FROM events
-- view: computed
SELECT coalesce(sum(n), 0) + count(*) AS n, 'x' AS word FROM events
-- view: of_a_filter
SELECT count(*) AS n FROM events WHERE n > 1
-- view: of_a_join
SELECT count(*) AS n, sum(a.n * b.n) AS total FROM events AS a JOIN events AS b USING (at)
