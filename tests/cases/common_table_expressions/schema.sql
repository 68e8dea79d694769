CREATE TABLE t (id integer PRIMARY KEY, g text, x integer);
-- data
INSERT INTO t VALUES (1, 'a', 10), (2, 'a', 20), (3, 'b', 30), (4, NULL, 40);
