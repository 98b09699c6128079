-- Calculation: a filter, a CASE and a function of the user's own.
CREATE OR REPLACE MACRO count_char(s, c) AS length(s) - length(replace(s, c, ''));

CREATE QUERY q14 INTO result
OUTPUT MODE APPEND
AS
SELECT auction, bidder, 0.908 * price AS price,
  CASE
    WHEN hour(dateTime) >= 8 AND hour(dateTime) <= 18 THEN 'dayTime'
    WHEN hour(dateTime) <= 6 OR hour(dateTime) >= 20 THEN 'nightTime'
    ELSE 'otherTime'
  END AS bidTimeType,
  dateTime, extra, count_char(extra, 'c') AS c_counts
FROM bid
WHERE 0.908 * price > 1000000 AND 0.908 * price < 50000000;
