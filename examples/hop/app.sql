-- Top sellers: a hopping window over made-up orders into a table of a DuckDB file. Needs no broker.
--   tidemill run app.sql --available-now
CREATE SOURCE orders (
  seller VARCHAR,
  amount DECIMAL(10, 2),
  ts     TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'generator', rows = 20000, max_rows_per_batch = 1500,
        fields = 'seller: text(prefix=s, 1..20), amount: float(1..100), ts: time(start=2026-01-01, step=100ms, jitter=4s)');

CREATE SINK seller_table WITH (connector = 'duckdb', path = 'out/shop.duckdb', table = 'top_sellers');

CREATE QUERY top_sellers INTO seller_table AS
  SELECT window_start, window_end, seller, sum(amount) AS revenue, max(amount) AS best
  FROM hop(orders, ts, INTERVAL '20 seconds', INTERVAL '1 minute')
  GROUP BY ALL
  HAVING count(*) >= 35;
