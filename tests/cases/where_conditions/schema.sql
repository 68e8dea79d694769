CREATE TABLE t (id integer PRIMARY KEY, a integer, b integer, s text, at timestamptz);
-- data
INSERT INTO t VALUES (1, 1, 2, 'apple', '2024-01-01 00:00Z'), (2, 2, 2, 'pear', '2024-06-01 00:00Z'), (3, NULL, 1, NULL, NULL), (4, 5, NULL, 'fig', '2025-01-01 00:00Z');
