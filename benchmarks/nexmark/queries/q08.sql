-- Monitor new users: who opened an auction in the 10 seconds in which they came.
CREATE QUERY q8 INTO result
OUTPUT MODE APPEND
AS
SELECT P.id, P.name, P.window_start AS starttime
FROM (
  SELECT id, name, window_start, window_end
  FROM tumble(person, dateTime, INTERVAL '10 seconds')
  GROUP BY id, name, window_start, window_end
) AS P
JOIN (
  SELECT seller, window_start, window_end
  FROM tumble(auction, dateTime, INTERVAL '10 seconds')
  GROUP BY seller, window_start, window_end
) AS A ON P.id = A.seller AND P.window_start = A.window_start AND P.window_end = A.window_end;
