-- Currency conversion: dollars to euros.
CREATE QUERY q1 INTO result
OUTPUT MODE APPEND
AS
SELECT auction, bidder, 0.908 * price AS price, dateTime, extra
FROM bid;
