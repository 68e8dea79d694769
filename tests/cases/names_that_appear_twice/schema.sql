CREATE TABLE t (id integer, x integer);
CREATE TABLE u (id integer, x integer);
-- data
INSERT INTO t VALUES (1, 10), (2, 20);
INSERT INTO u VALUES (1, 100), (2, 200), (2, 300);
