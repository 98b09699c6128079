-- User sessions: how many bids a bidder made without a pause of more than 10 seconds.
CREATE QUERY q11 INTO result
OUTPUT MODE APPEND
AS
SELECT bidder, count(*) AS bid_count, window_start AS starttime, window_end AS endtime
FROM session(bid, dateTime, bidder, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end;
