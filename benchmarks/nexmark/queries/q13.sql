-- Bounded side input: bids joined with a small table that does not change.
CREATE OR REPLACE TABLE side_input AS
SELECT i AS key, i::VARCHAR AS value FROM range(10000) AS numbers(i);

CREATE QUERY q13 INTO result
OUTPUT MODE APPEND
AS
SELECT B.auction, B.bidder, B.price, B.dateTime, S.value
FROM bid AS B
JOIN side_input AS S ON B.auction % 10000 = S.key;
