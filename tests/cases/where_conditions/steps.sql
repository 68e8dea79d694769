-- rows
INSERT INTO t VALUES (5, 2, 3, 'apricot', '2024-06-05'), (6, 9, 9, 'fog', '2023-01-01');
-- values cross the conditions
UPDATE t SET a = b, b = a;
-- NULLs come and go
UPDATE t SET a = CASE WHEN a IS NULL THEN 1 WHEN a = 2 THEN NULL ELSE a END, s = nullif(s, 'fig');
-- later
UPDATE t SET at = at + interval '5 months';
-- fewer
DELETE FROM t WHERE id IN (1, 2);
