-- The demo's application: one stream of orders, three queries.
CREATE SOURCE orders (
  order_id BIGINT,
  seller   VARCHAR,
  country  VARCHAR,
  amount   DECIMAL(10, 2),
  ts       TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds'
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ORDERS', subject = 'orders.>', format = 'json');

CREATE TABLE countries AS
  SELECT * FROM (VALUES ('DE', 'Germany'), ('FR', 'France'), ('JP', 'Japan'), ('BR', 'Brazil')) t(code, name);

CREATE SINK big_stream WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'BIG_ORDERS');
CREATE SINK revenue_files WITH (connector = 'parquet', path = '${DEMO_DIR}/out/revenue');
CREATE SINK seller_table WITH (connector = 'duckdb', path = '${DEMO_DIR}/out/shop.duckdb', table = 'top_sellers');

-- filter -> JetStream
CREATE QUERY big_orders INTO big_stream AS
  SELECT order_id, seller, country, amount, ts FROM orders WHERE amount >= 450;

-- revenue per country and minute, with a reference join -> Parquet
CREATE QUERY revenue INTO revenue_files WITH (late = 'dead_letter') AS
  SELECT window_start, window_end, coalesce(name, 'elsewhere') AS country, sum(amount) AS revenue, count(*) AS orders
  FROM tumble(orders, ts, INTERVAL '1 minute') o LEFT JOIN countries ON o.country = code
  GROUP BY ALL;

-- hop: the best sellers of the last minute, every 20 seconds -> DuckDB
CREATE QUERY top_sellers INTO seller_table AS
  SELECT window_start, window_end, seller, sum(amount) AS revenue, max(amount) AS best
  FROM hop(orders, ts, INTERVAL '20 seconds', INTERVAL '1 minute')
  GROUP BY ALL
  HAVING count(*) >= 20;
