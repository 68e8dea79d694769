-- Bids of a user in each 10 seconds, of event time as there is no time of processing
SELECT
    bidder,
    count(*) AS bid_count,
    date_bin('10 seconds', date_time, timestamp '2015-07-15') AS starttime,
    date_bin('10 seconds', date_time, timestamp '2015-07-15') + interval '10 seconds' AS endtime
FROM bid
GROUP BY bidder, date_bin('10 seconds', date_time, timestamp '2015-07-15')
