-- A bidder's last bid on each auction; the price breaks ties
SELECT auction, bidder, price, channel, url, date_time, extra
FROM (
    SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC) AS place
    FROM bid
) AS q
WHERE place <= 1
