-- What TPC-H Q1 reads, without what it does not read, and rows of all its four groups.

CREATE TABLE lineitem (
    l_orderkey bigint NOT NULL, l_linenumber integer NOT NULL,
    l_quantity numeric(15, 2) NOT NULL, l_extendedprice numeric(15, 2) NOT NULL, l_discount numeric(15, 2) NOT NULL,
    l_tax numeric(15, 2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL, l_shipdate date NOT NULL
);

-- The groups are A F, N F, N O and R F.
INSERT INTO lineitem
SELECT n, k, n % 50 + 1, 900 + n % 100000, (n % 11) / 100.0, (n % 9) / 100.0,
    substr('ANNR', k + 1, 1), substr('FFOF', k + 1, 1), date '1992-01-02' + n % 2400
FROM generate_series(1, 50000) AS n, LATERAL (SELECT n % 4 AS k) AS kind;
