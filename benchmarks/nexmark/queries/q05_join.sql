-- Hot items as the suite writes them: the counts of a window joined with their maximum.
CREATE QUERY q5_join INTO result
OUTPUT MODE APPEND
AS
WITH counts AS (
  SELECT auction, window_start, window_end, count(*) AS num
  FROM hop(bid, dateTime, INTERVAL '2 seconds', INTERVAL '10 seconds')
  GROUP BY auction, window_start, window_end
), most AS (
  SELECT window_start, window_end, max(num) AS num
  FROM counts
  GROUP BY window_start, window_end
)
SELECT C.auction, C.num, C.window_start, C.window_end
FROM counts AS C
JOIN most AS M ON C.window_start = M.window_start AND C.window_end = M.window_end AND C.num >= M.num;
