CREATE TABLE users (user_id integer PRIMARY KEY, name text, city text);
CREATE TABLE orders (id integer PRIMARY KEY, user_id integer REFERENCES users, cents bigint);
-- data
INSERT INTO users VALUES (1, 'Ann', 'Oslo'), (2, 'Bob', 'Rome');
INSERT INTO orders VALUES (1, 1, 100), (2, 1, 250), (3, 2, 80);
