-- a third copy, and a copy of nothing
INSERT INTO parts VALUES (6, 'red', 9), (7, NULL, NULL);
-- one of three copies goes
DELETE FROM parts WHERE id = 2;
-- one row becomes a copy of another
UPDATE parts SET color = 'red' WHERE id = 3;
-- a column that the query reads changes, but not its result
UPDATE parts SET weight = weight + 1 WHERE id = 1;
-- NULL comes and goes
UPDATE parts SET color = CASE WHEN color IS NULL THEN 'green' END;
-- nothing is left
DELETE FROM parts;
-- and all comes back
INSERT INTO parts SELECT i, 'red', i FROM generate_series(1, 5) AS i;
