-- reads
INSERT INTO reads VALUES (2, '2024-01-02 01:00', 5), (2, '2024-02-02 01:00', 1), (1, '2024-01-01 05:00', 5);
-- one of several equal rows
DELETE FROM reads WHERE at = '2024-01-01 02:00';
-- corrected
UPDATE reads SET value = value + 1 WHERE meter = 2;
-- moved
UPDATE reads SET meter = 3 - meter;
-- an owner
UPDATE meters SET owner = 'Cid' WHERE meter = 1;
-- both
WITH m AS (INSERT INTO meters VALUES (3, 'Dee')) INSERT INTO reads VALUES (3, '2024-01-01', 50), (3, '2024-01-01', 50);
-- all gone
DELETE FROM reads;
-- back
INSERT INTO reads SELECT i % 3, timestamp '2024-01-30' + i * interval '12 hours', i % 4 FROM generate_series(1, 12) AS i;
-- emptied
TRUNCATE reads;
-- and filled
INSERT INTO reads VALUES (1, '2024-01-01 01:00', 9), (1, '2024-01-01 02:00', 9);
