-- File to file: JSON lines that appear in a folder, hits per page as CSV, lines that do not decode as dead letters.
--   tidemill run app.sql --available-now
CREATE SOURCE visits (
  user_id BIGINT,
  url     VARCHAR,
  ts      TIMESTAMP,
  page    VARCHAR AS (regexp_extract(url, '^https?://[^/]+(/[^?]*)', 1)),
  WATERMARK FOR ts AS ts - INTERVAL '1 minute'
) WITH (connector = 'file', path = 'in/*.ndjson', format = 'ndjson', max_files_per_batch = 1);

CREATE SINK hits WITH (connector = 'csv', path = 'out/hits', partition_by = 'day');

CREATE QUERY hits_per_page INTO hits AS
  SELECT window_start::DATE AS day, window_start, page, count(*) AS hits, count(DISTINCT user_id) AS users
  FROM tumble(visits, ts, INTERVAL '1 hour')
  WHERE page <> ''
  GROUP BY ALL;
