CREATE TABLE orders (id integer PRIMARY KEY, customer integer, item text);
CREATE TABLE customers (id integer, name text);
-- data
INSERT INTO customers VALUES (1, 'Ann'), (1, 'Ann'), (2, 'Bob'), (NULL, 'Nobody');
INSERT INTO orders VALUES (10, 1, 'cup'), (11, 1, 'cup'), (12, 2, 'pan'), (13, NULL, 'pot'), (14, 3, 'lid');
