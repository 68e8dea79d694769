-- a read
INSERT INTO reads VALUES (12, '2024-01-03', 9), (11, '2024-01-03', 9);
-- a user moves
UPDATE users SET region = 2 WHERE user_id = 1;
-- a meter finds its user
UPDATE meters SET user_id = 3 WHERE meter_id = 13;
-- a user gets a region
UPDATE users SET region = 1 WHERE user_id = 3;
-- a meter goes
DELETE FROM meters WHERE meter_id = 10;
-- a region changes its name
UPDATE regions SET title = 'east' WHERE region = 1;
-- a region goes
DELETE FROM regions WHERE region = 2;
-- meters and reads in one statement
WITH m AS (INSERT INTO meters VALUES (20, 1, 'water')) INSERT INTO reads VALUES (20, '2024-02-01', 1);
-- all regions new
INSERT INTO regions VALUES (2, 'south'), (3, 'west');
