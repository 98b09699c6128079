-- Highest bid as the suite writes it: bids joined with the highest price of a window, both ends of which
-- count.
CREATE QUERY q7_join INTO result
OUTPUT MODE APPEND
AS
SELECT B.auction, B.price, B.bidder, B.dateTime, B.extra
FROM bid AS B
JOIN (
  SELECT max(price) AS price, window_end
  FROM tumble(bid, dateTime, INTERVAL '10 seconds')
  GROUP BY window_start, window_end
) AS M ON B.price = M.price
WHERE B.dateTime BETWEEN M.window_end - INTERVAL '10 seconds' AND M.window_end;
