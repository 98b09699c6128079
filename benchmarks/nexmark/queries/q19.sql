-- Auction top 10: the highest bids on each auction, the earlier one first where they are equal.
CREATE QUERY q19 INTO result
OUTPUT MODE UPDATE
AS
SELECT auction, bidder, price, channel, url, dateTime, extra,
  row_number() OVER (
    PARTITION BY auction ORDER BY price DESC, dateTime, bidder, extra, channel, url) AS rank_number
FROM bid
QUALIFY rank_number <= 10;
