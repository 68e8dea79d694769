-- sales
INSERT INTO sales VALUES ('pan', 15, 2), ('cup', 9, 9);
-- a price is split
UPDATE prices SET during = '[1,12)' WHERE price = 2.00;
-- and another goes
DELETE FROM prices WHERE price = 2.50;
-- days move
UPDATE sales SET day = day + 1;
-- prices rise
UPDATE prices SET price = price * 1.5;
