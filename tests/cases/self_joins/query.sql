-- Self-joins, of two and of three occurrences, by equality and not
-- view: bosses
SELECT s.name, b.name AS boss FROM staff AS s JOIN staff AS b ON s.boss = b.id
-- view: grand_bosses
SELECT s.name, g.name AS boss FROM staff AS s JOIN staff AS b ON s.boss = b.id JOIN staff AS g ON b.boss = g.id
-- view: better_paid
SELECT a.name, count(*) AS below, sum(b.pay) AS pay FROM staff AS a JOIN staff AS b ON a.pay > b.pay GROUP BY a.name
-- view: pairs
SELECT count(*) AS n, sum(a.pay * b.pay) AS product FROM staff AS a, staff AS b
