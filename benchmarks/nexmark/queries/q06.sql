-- Average selling price by seller: over the closing prices of a seller's auctions up to this one, the last 11
-- in the order of the winning bids ("10 PRECEDING" and the row itself, as the suite writes it). A winner is
-- the first of the highest bids. The suite gives seller and avg only; the auction names the row.
CREATE QUERY q6 INTO result
OUTPUT MODE UPDATE
AS
SELECT id AS auction, seller,
  avg(price) OVER (PARTITION BY seller ORDER BY dateTime, id ROWS BETWEEN 10 PRECEDING AND CURRENT ROW) AS avg
FROM (
  SELECT A.id, A.seller, B.price, B.dateTime
  FROM auction AS A
  JOIN bid AS B ON A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires
  QUALIFY row_number() OVER (
    PARTITION BY A.id, A.seller ORDER BY B.price DESC, B.dateTime, B.bidder, B.extra) <= 1
);
