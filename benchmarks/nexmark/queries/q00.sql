-- Pass-through: what it costs to let every bid through.
CREATE QUERY q0 INTO result
OUTPUT MODE APPEND
AS
SELECT auction, bidder, price, dateTime, extra
FROM bid;
