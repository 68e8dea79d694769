CREATE TABLE reads (meter integer, at timestamp, value integer);
CREATE TABLE meters (meter integer PRIMARY KEY, owner text);
-- data
INSERT INTO meters VALUES (1, 'Ann'), (2, 'Ann'), (3, 'Bob');
INSERT INTO reads VALUES (1, '2024-01-01 00:30', 5), (1, '2024-01-01 01:00', 6), (2, '2024-01-02', 7), (3, '2024-01-02', 1);
