-- an order
INSERT INTO orders VALUES (4, 2, 20);
-- a rename
UPDATE users SET name = 'Anna' WHERE user_id = 1;
-- a move, of both
UPDATE users SET city = city || '!';
-- HAVING is crossed
UPDATE users SET name = 'Nobody' WHERE user_id = 2;
-- and back
UPDATE users SET name = 'Bob' WHERE user_id = 2;
-- orders go
DELETE FROM orders WHERE user_id = 1;
