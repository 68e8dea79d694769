CREATE TABLE staff (id integer PRIMARY KEY, boss integer, name text, pay integer);
-- data
INSERT INTO staff VALUES (1, NULL, 'Ann', 9), (2, 1, 'Bob', 5), (3, 1, 'Cid', 6), (4, 2, 'Dee', 7);
