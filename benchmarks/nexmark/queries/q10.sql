-- Log to files: every bid with the day and the minute that its file is named by. The sink is meant to be one
-- of files with partition_by = 'dt, hm'.
CREATE QUERY q10 INTO result
OUTPUT MODE APPEND
AS
SELECT auction, bidder, price, dateTime, extra,
  strftime(dateTime, '%Y-%m-%d') AS dt, strftime(dateTime, '%H:%M') AS hm
FROM bid;
