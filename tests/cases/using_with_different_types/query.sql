-- USING and NATURAL over columns of different types: the column has the common type, and computes in it
-- view: halves
SELECT k / 2 AS half, k, v, w FROM a JOIN b USING (k)
-- view: grouped_halves
SELECT k / 2 AS half, sum(k / 2) AS s, avg(k) AS m, count(*) FROM a JOIN b USING (k) GROUP BY k
-- view: texts
SELECT c, octet_length(c) AS bytes FROM a JOIN b USING (c)
-- view: by_natural
SELECT k, count(*) FROM (SELECT k, v FROM a) AS p NATURAL JOIN (SELECT k, w FROM b) AS q GROUP BY k
-- view: other_side
SELECT k / 2 AS half, b.k AS right_k, a.k AS left_k FROM b JOIN a USING (k)
-- view: three_types
SELECT w.x, y, z FROM whole AS w JOIN approximate USING (k) JOIN whole AS other (k, z) USING (k)
-- view: three_types_in_parentheses
SELECT x, y, z, u, a.v FROM (whole JOIN approximate USING (k)) JOIN (whole AS other (k, z) JOIN approximate AS near (k, u) USING (k)) USING (k), a
-- view: common_column_by_alias
SELECT j.k AS any_k, jj.k / 2 AS half, count(*) AS n
FROM a JOIN b USING (k) AS j, (whole JOIN approximate USING (k) AS jj) WHERE j.k < jj.k GROUP BY j.k, jj.k
