-- Winning bids; what ties is broken by the bidder and the channel
SELECT id, item_name, description, initial_bid, reserve, seller, category, auction, bidder, price, bid_time
FROM (
    SELECT
        a.*, b.auction, b.bidder, b.price, b.date_time AS bid_time,
        row_number() OVER (
            PARTITION BY a.id ORDER BY b.price DESC, b.date_time, b.bidder, b.channel
        ) AS place
    FROM auction AS a
    JOIN bid AS b ON a.id = b.auction
    WHERE b.date_time BETWEEN a.date_time AND a.expires
) AS q
WHERE place <= 1
