-- FILTER on every aggregate, also the same one with several filters
-- view: by_city
SELECT city, count(*) FILTER (WHERE ok) AS fine, count(*) FILTER (WHERE NOT ok) AS bad, count(*) AS calls,
    count(seconds) FILTER (WHERE ok) AS measured, sum(seconds) FILTER (WHERE ok) AS seconds, sum(seconds) AS all_seconds,
    avg(cost) FILTER (WHERE cost > 1 AND seconds > 5) AS cost, sum(cost) FILTER (WHERE city LIKE 'O%') AS o
FROM calls GROUP BY city HAVING count(*) FILTER (WHERE ok) > 0
-- view: in_all
SELECT count(*) FILTER (WHERE ok) AS fine, sum(cost) FILTER (WHERE NOT ok) AS bad FROM calls
