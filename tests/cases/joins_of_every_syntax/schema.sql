CREATE TABLE users (user_id integer PRIMARY KEY, name text, region integer);
CREATE TABLE meters (meter_id integer PRIMARY KEY, user_id integer, kind text);
CREATE TABLE reads (meter_id integer, at date, value integer);
CREATE TABLE regions (region integer PRIMARY KEY, title text);
-- data
INSERT INTO users VALUES (1, 'Ann', 1), (2, 'Bob', 2), (3, 'Cid', NULL);
INSERT INTO meters VALUES (10, 1, 'gas'), (11, 1, 'power'), (12, 2, 'power'), (13, NULL, 'gas');
INSERT INTO reads VALUES (10, '2024-01-01', 5), (10, '2024-01-02', 6), (11, '2024-01-01', 7), (12, '2024-01-01', 8);
INSERT INTO regions VALUES (1, 'north'), (2, 'south');
