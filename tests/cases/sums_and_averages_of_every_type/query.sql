-- SUM, AVG and COUNT over every numeric type, interval and money
-- view: sums
SELECT k, sum(i2) AS i2, sum(i4) AS i4, sum(i8) AS i8, sum(n) AS n, sum(n2) AS n2, sum(n_neg) AS n_neg,
    sum(f4) AS f4, sum(f8) AS f8, sum(iv) AS iv, sum(m) AS m
FROM facts GROUP BY k
-- view: averages
SELECT k, avg(i2) AS i2, avg(i4) AS i4, avg(i8) AS i8, avg(n) AS n, avg(n2) AS n2, avg(n_neg) AS n_neg,
    avg(f4) AS f4, avg(f8) AS f8, avg(iv) AS iv
FROM facts GROUP BY k
-- view: counts
SELECT k, count(*) AS "all", count(i2) AS i2, count(iv) AS iv, count(m) AS m, count(k) AS k_too FROM facts GROUP BY k
-- view: totals
SELECT sum(i2) AS i2, avg(i8) AS i8, sum(n) AS n, avg(n) AS an, sum(f4) AS f4, avg(f8) AS f8, sum(iv) AS iv, sum(m) AS m FROM facts
-- view: of_expressions
SELECT k, sum(i4 * 2 + 1) AS a, sum(n * n2) AS b, avg(f8 / 2) AS c, sum(-iv) AS d, sum(CASE WHEN i2 > 1 THEN i4 END) AS e,
    sum(i4::numeric(15, 3)) AS f, sum(length(k)) AS g, sum(i2::smallint + i8) AS h, sum(m * 2) AS i, sum(1) AS j, avg(NULL::integer) AS l
FROM facts GROUP BY k
