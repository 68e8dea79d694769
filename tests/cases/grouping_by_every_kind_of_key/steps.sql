-- into groups old and new
INSERT INTO notes VALUES (5, 'ANN', 'glad', '2024-01-09', 5, '{a}'), (6, 'Bob', NULL, '2024-02-02', 6, '{b}');
-- a key becomes NULL
UPDATE notes SET who = NULL WHERE id = 1;
-- and is NULL no more
UPDATE notes SET who = 'Cid', mood = 'glad' WHERE id = 3;
-- a group loses its last row
DELETE FROM notes WHERE id = 4;
-- only values change
UPDATE notes SET n = coalesce(n, 0) + 10;
-- all go
DELETE FROM notes;
-- all come
INSERT INTO notes SELECT i, 'w' || i % 3, 'sad', NULL, i, ARRAY['x', NULL] FROM generate_series(1, 7) AS i;
