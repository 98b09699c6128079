-- Revenue per country and minute: a stream joined with reference data, as Parquet files.
--   tidemill run app.sql
CREATE SOURCE orders (
  order_id BIGINT,
  country  VARCHAR,
  amount   DECIMAL(10, 2),
  ts       TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'jetstream', url = '${NATS_URL:-nats://127.0.0.1:4222}', stream = 'ORDERS', format = 'json');

CREATE TABLE countries AS FROM 'countries.csv';

CREATE SINK revenue_files WITH (connector = 'parquet', path = 'out/revenue', partition_by = 'day');

CREATE QUERY revenue INTO revenue_files WITH (late = 'dead_letter') AS
  SELECT window_start::DATE AS day, window_start, coalesce(name, 'elsewhere') AS country,
    sum(amount) AS revenue, count(*) AS orders
  FROM tumble(orders, ts, INTERVAL '1 minute') o LEFT JOIN countries c ON o.country = c.code
  GROUP BY ALL;
