-- rows
INSERT INTO pairs VALUES (3, 2, 6), (1, 1, 7);
-- values
UPDATE pairs SET y = y + 1, z = z * 10;
-- fewer
DELETE FROM pairs WHERE x = 2 AND y = 3;
