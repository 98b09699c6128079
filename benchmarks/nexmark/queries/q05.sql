-- Hot items: the auctions with the most bids of the last 10 seconds, every 2 seconds. All that share the
-- first place come out. q5_join is the same in the words of the suite.
CREATE QUERY q5 INTO result
OUTPUT MODE APPEND
AS
SELECT auction, num, window_start, window_end
FROM (
  SELECT auction, window_start, window_end, count(*) AS num
  FROM hop(bid, dateTime, INTERVAL '2 seconds', INTERVAL '10 seconds')
  GROUP BY auction, window_start, window_end
)
QUALIFY rank() OVER (PARTITION BY window_start, window_end ORDER BY num DESC) = 1;
