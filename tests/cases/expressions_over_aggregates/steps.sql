-- more
INSERT INTO t VALUES (1, 5, 5), (3, 1, 1);
-- other values
UPDATE t SET x = x + 1, y = y * 2;
-- other groups
UPDATE t SET k = coalesce(k, 0) + 1;
-- fewer
DELETE FROM t WHERE k = 2;
