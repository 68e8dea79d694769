-- A join whose tables hold duplicates: every pair counts
SELECT c.name, o.item FROM orders AS o JOIN customers AS c ON c.id = o.customer
