-- Local item suggestion: who sells in category 10 in three states.
CREATE QUERY q3 INTO result
OUTPUT MODE APPEND
AS
SELECT P.name, P.city, P.state, A.id
FROM auction AS A
JOIN person AS P ON A.seller = P.id
WHERE A.category = 10 AND P.state IN ('OR', 'ID', 'CA');
