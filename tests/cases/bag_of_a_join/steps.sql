-- the partner that was missing, twice
INSERT INTO customers VALUES (3, 'Cid'), (3, 'Cid');
-- one of two equal partners
DELETE FROM customers WHERE ctid = (SELECT min(ctid) FROM customers WHERE id = 1);
-- the join key moves
UPDATE orders SET customer = 2 WHERE id = 10;
-- the join key becomes NULL, and is NULL no more
UPDATE orders SET customer = CASE WHEN id = 13 THEN 1 END WHERE id IN (12, 13);
-- both sides in one statement
WITH gone AS (DELETE FROM customers WHERE id = 1 RETURNING id) DELETE FROM orders USING gone WHERE customer = gone.id;
-- both sides come
WITH c AS (INSERT INTO customers VALUES (7, 'Dee')) INSERT INTO orders VALUES (70, 7, 'jar'), (71, 7, 'jar');
-- every partner changes its name
UPDATE customers SET name = upper(name);
