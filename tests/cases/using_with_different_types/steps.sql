-- rows
INSERT INTO a VALUES (5, 'z', 1);
-- partners
INSERT INTO b VALUES (5.00, 'z', 5), (3, 'w', 1);
-- moved
UPDATE a SET k = 1, c = 'z' WHERE k = 3;
-- fewer
DELETE FROM b WHERE w = 1 AND c = 'x';
-- equal as floats
INSERT INTO approximate VALUES (9007199254740994, 2), (7, 3);
INSERT INTO whole VALUES (9007199254740994, 3), (9007199254740995, 4), (7, 5);
-- unequal as floats
UPDATE whole SET k = k + 2 WHERE x = 1;
