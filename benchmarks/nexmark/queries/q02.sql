-- Selection: bids on some auctions.
CREATE QUERY q2 INTO result
OUTPUT MODE APPEND
AS
SELECT auction, price
FROM bid
WHERE auction % 123 = 0;
