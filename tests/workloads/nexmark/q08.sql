-- Monitor new users: who opened auctions in the 10 seconds in which they came
SELECT p.id, p.name, p.start
FROM (
    SELECT id, name, date_bin('10 seconds', date_time, timestamp '2015-07-15') AS start
    FROM person
    GROUP BY id, name, 3
) AS p
JOIN (
    SELECT seller, date_bin('10 seconds', date_time, timestamp '2015-07-15') AS start
    FROM auction
    GROUP BY seller, 2
) AS a ON p.id = a.seller AND p.start = a.start
