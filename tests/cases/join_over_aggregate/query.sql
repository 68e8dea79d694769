-- Joins of tables with aggregate subqueries, and of those with each other
-- view: beside_a_table
SELECT u.name, o.total, o.n FROM users u JOIN (SELECT user_id, sum(cents) AS total, count(*) AS n FROM orders GROUP BY user_id) o ON o.user_id = u.id
-- view: two_aggregates
SELECT o.total, v.pages FROM (SELECT user_id, sum(cents) AS total FROM orders GROUP BY user_id) o
JOIN (SELECT user_id, sum(pages) AS pages FROM visits GROUP BY user_id) v USING (user_id)
-- view: against_the_total
SELECT u.name, o.cents * 100 / t.all_cents AS share FROM users u JOIN orders o ON o.user_id = u.id, (SELECT sum(cents) AS all_cents FROM orders) t WHERE t.all_cents > 0
-- view: above_average
SELECT o.user_id, o.cents FROM orders o, (SELECT avg(cents) AS mean FROM orders) m WHERE o.cents > m.mean
-- view: grouped_again
SELECT o.total > 100 AS rich, count(*), sum(v.pages) FROM (SELECT user_id, sum(cents) AS total FROM orders GROUP BY 1) o
JOIN visits v USING (user_id) GROUP BY o.total > 100
