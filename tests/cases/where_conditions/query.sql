-- WHERE: lists, arrays, ranges, patterns, rows, three-valued logic
-- view: lists
SELECT id FROM t WHERE a IN (1, 2, NULL) AND s NOT IN ('pear', 'plum')
-- view: arrays
SELECT id FROM t WHERE a = ANY (ARRAY[1, 5]) OR b > ALL ('{1,0}'::integer[])
-- view: lists_in_a_join
SELECT t.id, u.id AS other FROM t JOIN t AS u ON t.b = u.b AND t.id IN (1, 2, 3) AND u.s LIKE ANY ('{a%,p%}') WHERE u.a = ANY ('{1,2}')
-- view: between
SELECT id FROM t WHERE a BETWEEN 1 AND 3 OR b NOT BETWEEN SYMMETRIC 9 AND 2
-- view: patterns
SELECT id FROM t WHERE s LIKE '%p%' AND s NOT ILIKE 'P_Z' OR s ~ '^f' OR s SIMILAR TO '(x|y)%'
-- view: rows
SELECT id FROM t WHERE (a, b) = (1, 2) OR (a, b) > (2, 1) OR ROW(a, b) IS DISTINCT FROM ROW(5, NULL::integer)
-- view: nulls
SELECT id FROM t WHERE (a > b) IS NOT TRUE AND NOT (s IS NULL AND a IS NULL) OR coalesce(a = b, false)
-- view: distinctness
SELECT id FROM t WHERE a IS DISTINCT FROM b AND s IS NOT DISTINCT FROM s
-- view: time
SELECT id FROM t WHERE at >= '2024-03-01' AND at::date < '2024-12-31' AND extract(month FROM at) = 6
-- view: constant
SELECT id FROM t WHERE true
-- view: precedence
SELECT id FROM t WHERE (a = 1 OR b = 2) AND NOT (a = 2 AND (b = 2 OR b = 3)) AND (a + b) * 2 - 1 > 3
