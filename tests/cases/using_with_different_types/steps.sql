-- rows
INSERT INTO a VALUES (5, 'z', 1);
-- partners
INSERT INTO b VALUES (5.00, 'z', 5), (3, 'w', 1);
-- moved
UPDATE a SET k = 1, c = 'z' WHERE k = 3;
-- fewer
DELETE FROM b WHERE w = 1 AND c = 'x';
