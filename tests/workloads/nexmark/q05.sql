-- Hot items: most bids in windows of 10 seconds that start every 2
WITH counted AS (
    SELECT b.auction, count(*) AS num, w.hop
    FROM bid AS b
    CROSS JOIN LATERAL (
        SELECT date_bin('2 seconds', b.date_time, timestamp '2015-07-15') - n * interval '2 seconds' AS hop
        FROM generate_series(0, 4) AS g (n)
    ) AS w
    GROUP BY b.auction, w.hop
)
SELECT c.hop, c.auction, c.num
FROM counted AS c
JOIN (SELECT hop, max(num) AS most FROM counted GROUP BY hop) AS m ON c.hop = m.hop AND c.num >= m.most
