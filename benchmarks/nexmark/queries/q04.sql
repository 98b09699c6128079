-- Average closing price by category: the highest bid inside an auction's life closes it. The average of
-- BIGINTs is a BIGINT in the suite: cut off, not rounded.
CREATE QUERY q4 INTO result
OUTPUT MODE UPDATE
AS
SELECT category, trunc(avg(final))::BIGINT AS avg
FROM (
  SELECT A.id, A.category, max(B.price) AS final
  FROM auction AS A
  JOIN bid AS B ON A.id = B.auction AND B.dateTime BETWEEN A.dateTime AND A.expires
  GROUP BY A.id, A.category
)
GROUP BY category;
