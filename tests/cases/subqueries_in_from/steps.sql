-- reads
INSERT INTO reads VALUES (2, '2024-01-02 05:00', 9), (3, '2024-01-01', 7);
-- corrected
UPDATE reads SET value = value + 1;
-- moved
UPDATE reads SET meter = 1 WHERE meter = 2;
-- an owner
UPDATE meters SET owner = 'Cid' WHERE meter = 1;
-- fewer
DELETE FROM reads WHERE value > 7;
