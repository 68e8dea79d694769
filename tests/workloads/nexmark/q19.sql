-- The dearest bids of each auction, three for ten; earlier ones and lower bidders first
SELECT *
FROM (
    SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder) AS place
    FROM bid
) AS q
WHERE place <= 3
