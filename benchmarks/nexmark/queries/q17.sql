-- Auction statistics by day: bids in all and in three ranges of prices, and what was bid. The average of
-- BIGINTs is a BIGINT in the suite: cut off, not rounded.
CREATE QUERY q17 INTO result
OUTPUT MODE UPDATE
AS
SELECT auction, strftime(dateTime, '%Y-%m-%d') AS day,
  count(*) AS total_bids,
  count(*) FILTER (price < 10000) AS rank1_bids,
  count(*) FILTER (price >= 10000 AND price < 1000000) AS rank2_bids,
  count(*) FILTER (price >= 1000000) AS rank3_bids,
  min(price) AS min_price, max(price) AS max_price,
  trunc(avg(price))::BIGINT AS avg_price, sum(price) AS sum_price
FROM bid
GROUP BY auction, strftime(dateTime, '%Y-%m-%d');
