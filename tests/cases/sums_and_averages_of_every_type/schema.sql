CREATE TABLE facts (
    k text, i2 smallint, i4 integer, i8 bigint, n numeric, n2 numeric(8, 2), n_neg numeric(5, -2),
    f4 real, f8 double precision, iv interval, m money
);
-- data
INSERT INTO facts VALUES
    ('a', 1, 100000, 5000000000, 1.10, 2.50, 12345, 0.5, 0.25, '1 month 2 days', 3.50),
    ('a', 2, -5, -7, 2.205, 0.01, 700, 1.5, -2, '30 days', 0.01),
    ('b', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
