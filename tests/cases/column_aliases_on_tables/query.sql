-- Column aliases on tables, also swapped and partial, and on parenthesised joins
-- view: swapped
SELECT p.x, p.y FROM pairs AS p (y, x)
-- view: partial
SELECT a, y, z FROM pairs AS p (a)
-- view: in_a_join
SELECT p.b, q.z FROM pairs AS p (a, b) JOIN pairs AS q (b, c) USING (b)
-- view: grouped
SELECT k, sum(v) AS v FROM pairs AS p (k, v) GROUP BY k
-- view: alias_of_a_join
SELECT j.a, j.f FROM (pairs AS p JOIN pairs AS q ON p.x = q.y) AS j (a, b, c, d, e, f)
-- view: alias_of_a_join_hides
SELECT p.x FROM (pairs AS p JOIN pairs AS q ON p.x = q.y) AS p (a, x, c, d, e, f)
