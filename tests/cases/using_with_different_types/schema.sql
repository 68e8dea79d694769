CREATE TABLE a (k integer, c character(5), v integer);
CREATE TABLE b (k numeric, c text, w integer);
-- data
INSERT INTO a VALUES (1, 'x', 10), (3, 'y', 20), (3, 'y', 30);
INSERT INTO b VALUES (1.0, 'x', 1), (3, 'y', 2), (3.5, 'z', 3);
