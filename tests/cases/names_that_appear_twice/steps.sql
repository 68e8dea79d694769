-- rows
INSERT INTO t VALUES (3, 30), (1, 11);
-- partners
INSERT INTO u VALUES (3, 400);
-- values
UPDATE u SET x = x + 1;
-- and here
UPDATE t SET x = x - 1;
-- fewer
DELETE FROM t WHERE id = 1;
-- no longer the greatest
DELETE FROM u WHERE x > 300;
