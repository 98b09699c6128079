-- Last bid: the newest bid of each bidder on each auction. Of bids at the same time the highest counts, and
-- what is left is put in an order by their other columns.
CREATE QUERY q18 INTO result
OUTPUT MODE UPDATE
AS
SELECT auction, bidder, price, channel, url, dateTime, extra
FROM bid
QUALIFY row_number() OVER (
  PARTITION BY bidder, auction ORDER BY dateTime DESC, price DESC, extra, channel, url) <= 1;
