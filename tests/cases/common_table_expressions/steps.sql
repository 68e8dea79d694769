-- rows
INSERT INTO t VALUES (5, 'b', 5), (6, 'c', 60);
-- values
UPDATE t SET x = x + 5 WHERE g = 'a';
-- groups
UPDATE t SET g = 'a' WHERE g = 'b';
-- fewer
DELETE FROM t WHERE id = 2 OR g IS NULL;
