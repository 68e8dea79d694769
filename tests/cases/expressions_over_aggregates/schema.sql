CREATE TABLE t (k integer, x integer, y numeric);
-- data
INSERT INTO t VALUES (1, 2, 1.5), (1, 3, 2.5), (2, 0, 0.5), (NULL, 4, NULL);
