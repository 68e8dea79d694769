-- Log with the parts of the time by which files are named
SELECT
    auction, bidder, price, date_time, extra,
    date_time::date AS dt,
    lpad(extract(hour FROM date_time)::text, 2, '0') || ':' || lpad(extract(minute FROM date_time)::text, 2, '0') AS hm
FROM bid
