-- Maintained views over maintained views: of groups, of bags, in joins and in diamonds
-- view: daily
SELECT meter, at::date AS day, sum(value) AS total, avg(value) AS mean FROM reads GROUP BY meter, at::date
-- view: bag
SELECT meter, value FROM reads
-- view: only_good
SELECT meter, count(*) AS n FROM reads GROUP BY meter HAVING sum(value) > 8
-- view: total
SELECT count(*) AS n, sum(value) AS s FROM reads
-- view: monthly
SELECT meter, date_trunc('month', day) AS month, sum(total) AS total FROM daily GROUP BY 1, 2
-- view: bag_of_bag
SELECT value * 2 AS twice FROM bag WHERE value > 1
-- view: grouped_bag
SELECT value, count(*) AS n, sum(meter) FROM bag AS b (m, value) JOIN meters ON meter = b.m GROUP BY value
-- view: joined
SELECT m.owner, d.day, d.mean FROM meters m JOIN daily d USING (meter)
-- view: diamond
SELECT d.day, b.value, d.total FROM daily d JOIN bag b USING (meter)
-- view: good_ones
SELECT m.owner, g.n FROM only_good g JOIN meters m USING (meter)
-- view: bag_twice
SELECT a.value, b.meter FROM bag a JOIN bag b USING (value)
-- view: of_total
SELECT n + 1 AS n, s FROM total
-- view: beside_its_table
SELECT r.at, d.total FROM reads r JOIN daily d ON d.meter = r.meter AND d.day = r.at::date
-- view: third
SELECT count(*) AS n, sum(total) AS s FROM monthly
