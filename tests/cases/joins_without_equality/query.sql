-- Joins by ranges, inequalities and functions of both sides
-- view: sold
SELECT s.item, s.day, s.amount * p.price AS total FROM sales s JOIN prices p ON s.item = p.item AND p.during @> s.day
-- view: cheaper
SELECT a.item, count(*) AS cheaper FROM prices a JOIN prices b ON a.price > b.price OR a.item < b.item GROUP BY a.item
-- view: by_function
SELECT s.day, p.item FROM sales s JOIN prices p ON left(s.item, 1) = left(p.item, 1) AND s.day BETWEEN 1 AND 9
