-- Aggregates of aggregates, two and three deep, with HAVING in between
-- view: of_days
SELECT shop, count(*) AS days, avg(total) AS average, sum(total) AS total
FROM (SELECT shop, day, sum(cents) AS total FROM sales GROUP BY shop, day) AS daily GROUP BY shop
-- view: how_many_shops
SELECT n, count(*) AS shops FROM (SELECT shop, count(*) AS n FROM sales GROUP BY shop) AS counted GROUP BY n
-- view: three_deep
SELECT count(*) AS n, sum(s) AS s FROM (
    SELECT total, sum(n) AS s FROM (SELECT shop, count(*) AS n, sum(cents) AS total FROM sales GROUP BY shop) AS a GROUP BY total
) AS b
-- view: good_days
SELECT day, sum(total) AS total
FROM (SELECT shop, day, sum(cents) AS total FROM sales GROUP BY shop, day HAVING sum(cents) > 60) AS good GROUP BY day
-- view: total_of_total
SELECT sum(n) AS n FROM (SELECT count(*) AS n FROM sales) AS one
-- view: bag_of_groups
SELECT total FROM (SELECT shop, sum(cents) / 10 AS total FROM sales GROUP BY shop) AS q WHERE total > 1
-- view: average_as_key
SELECT average, count(*) FROM (SELECT shop, round(avg(cents)) AS average FROM sales GROUP BY shop) AS q GROUP BY average
