CREATE TABLE a (k integer, c character(5), v integer);
CREATE TABLE b (k numeric, c text, w integer);
CREATE TABLE whole (k bigint, x integer);
CREATE TABLE approximate (k float8, y integer);
-- data
INSERT INTO a VALUES (1, 'x', 10), (3, 'y', 20), (3, 'y', 30);
INSERT INTO b VALUES (1.0, 'x', 1), (3, 'y', 2), (3.5, 'z', 3);
INSERT INTO whole VALUES (9007199254740992, 1), (9007199254740993, 2);
INSERT INTO approximate VALUES (9007199254740992, 1);
