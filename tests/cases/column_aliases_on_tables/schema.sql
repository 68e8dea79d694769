CREATE TABLE pairs (x integer, y integer, z integer);
-- data
INSERT INTO pairs VALUES (1, 2, 3), (2, 1, 4), (2, 2, 5);
