-- sales
INSERT INTO sales VALUES ('B', '2024-01-02', 90), ('C', '2024-01-02', 220), ('A', '2024-01-03', NULL);
-- a group at the bottom goes
DELETE FROM sales WHERE shop = 'A' AND day = '2024-01-02';
-- HAVING is crossed
UPDATE sales SET cents = cents - 45;
-- and back
UPDATE sales SET cents = cents + 45;
-- a shop is renamed
UPDATE sales SET shop = 'B' WHERE shop = 'C';
-- groups become alike
UPDATE sales SET cents = 10;
-- nothing
DELETE FROM sales;
-- something
INSERT INTO sales VALUES ('Z', '2025-01-01', 65), ('Z', '2025-01-01', 1), ('Y', '2025-01-01', 66);
