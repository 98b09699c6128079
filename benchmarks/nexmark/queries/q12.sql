-- Processing time windows: how many bids of a bidder were processed in each 10 seconds. now() is the time of
-- the batch, so the result depends on when batches ran, and can not be compared with a run over history; the
-- sum of bid_count by bidder can.
CREATE QUERY q12 INTO result
OUTPUT MODE UPDATE
AS
SELECT bidder, count(*) AS bid_count, starttime, starttime + INTERVAL '10 seconds' AS endtime
FROM (
  SELECT bidder, time_bucket(INTERVAL '10 seconds', now()::TIMESTAMP, TIMESTAMP '1970-01-01') AS starttime
  FROM bid
)
GROUP BY bidder, starttime;
