-- Highest bids of each 10 seconds
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid AS b
JOIN (
    SELECT max(price) AS price, date_bin('10 seconds', date_time, timestamp '2015-07-15') AS start
    FROM bid
    GROUP BY 2
) AS m
    ON b.price = m.price
    AND b.date_time >= m.start
    AND b.date_time < m.start + interval '10 seconds'
