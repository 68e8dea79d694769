-- over the threshold
INSERT INTO pays VALUES ('Bob', 1), (NULL, 30);
-- below it
UPDATE pays SET amount = amount / 3;
-- over it
UPDATE pays SET amount = amount * 5;
-- a key crosses
UPDATE pays SET who = 'Bob' WHERE who = 'Ann';
-- few
DELETE FROM pays WHERE amount > 2 AND who = 'Bob';
