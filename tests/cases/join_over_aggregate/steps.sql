-- orders
INSERT INTO orders VALUES (3, 10), (2, 400);
-- both in one statement
WITH o AS (INSERT INTO orders VALUES (1, 1)) INSERT INTO visits VALUES (1, 9);
-- cheaper
UPDATE orders SET cents = cents / 2;
-- moved
UPDATE orders SET user_id = 3 WHERE user_id = 2;
-- renamed
UPDATE users SET name = name || '!';
-- gone
DELETE FROM orders WHERE user_id = 1;
-- all gone
DELETE FROM orders;
-- back
INSERT INTO orders VALUES (1, 7), (2, 700);
