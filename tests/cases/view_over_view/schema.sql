CREATE TABLE meters (meter integer PRIMARY KEY, owner text);
CREATE TABLE reads (meter integer, at timestamp, value integer);
-- data
INSERT INTO meters VALUES (1, 'Ann'), (2, 'Bob');
INSERT INTO reads VALUES (1, '2024-01-01 01:00', 5), (1, '2024-01-01 02:00', 5), (2, '2024-01-01 01:00', 7);
