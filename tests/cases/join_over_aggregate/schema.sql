CREATE TABLE users (id integer PRIMARY KEY, name text);
CREATE TABLE orders (user_id integer, cents integer);
CREATE TABLE visits (user_id integer, pages integer);
-- data
INSERT INTO users VALUES (1, 'Ann'), (2, 'Bob'), (3, 'Cid');
INSERT INTO orders VALUES (1, 100), (1, 200), (2, 50);
INSERT INTO visits VALUES (1, 3), (2, 4), (2, 5), (3, 1);
