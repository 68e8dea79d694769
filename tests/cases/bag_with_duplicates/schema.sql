CREATE TABLE parts (id integer PRIMARY KEY, color text, weight numeric);
-- data
INSERT INTO parts VALUES (1, 'red', 1.50), (2, 'red', 1.5), (3, 'blue', 2), (4, NULL, NULL), (5, NULL, NULL);
