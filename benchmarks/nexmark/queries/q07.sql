-- Highest bid: the bids with the highest price of each 10 seconds. q7_join is the same in the words of the
-- suite, but for one thing: there a bid that stands exactly on a border also counts as of the window before.
CREATE QUERY q7 INTO result
OUTPUT MODE APPEND
AS
SELECT auction, price, bidder, dateTime, extra
FROM tumble(bid, dateTime, INTERVAL '10 seconds')
QUALIFY rank() OVER (PARTITION BY window_start, window_end ORDER BY price DESC) = 1;
