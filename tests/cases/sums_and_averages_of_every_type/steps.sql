-- a group whose values were all NULL gets one
INSERT INTO facts VALUES ('b', 3, 3, 3, 3.000, 3, 300, 3, 3, '3 hours', 3);
-- long digits
INSERT INTO facts VALUES ('a', 32767, 1073741800, 9223372036854000000, 1e30, 99999.99, 99999, 2, 1048576, '10 years', 1000000);
-- and less of them
UPDATE facts SET n = round(n, 1), n2 = n2 - 1, f8 = f8 * 2, iv = iv * 2, m = m / 2 WHERE k = 'a';
-- trailing zeros leave with their row
INSERT INTO facts (k, n) VALUES ('b', 1.000000);
-- as here
DELETE FROM facts WHERE k = 'b' AND i2 IS NULL;
-- all NULL again
UPDATE facts SET i2 = NULL, i4 = NULL, i8 = NULL, n = NULL, n2 = NULL, n_neg = NULL, f4 = NULL, f8 = NULL, iv = NULL, m = NULL WHERE k = 'b';
-- empty
DELETE FROM facts;
-- one row
INSERT INTO facts (k, i2, iv) VALUES ('z', -1, '-1 day +02:03');
