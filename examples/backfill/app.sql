-- Batch by slot: one run per day over a history of CSV files. A slot that runs again replaces what it wrote before.
--   tidemill backfill app.sql --query daily --from 2026-01-01 --to 2026-01-04 --every 1d
-- tidemill run app.sql does the same every night at 02:00 for the day before.
CREATE SOURCE sales (
  shop   VARCHAR,
  amount DECIMAL(10, 2),
  ts     TIMESTAMP
) WITH (connector = 'file', path = 'history/*.csv', format = 'csv', csv_header = true);

CREATE SINK daily_files WITH (connector = 'parquet', path = 'out/daily');

CREATE QUERY daily INTO daily_files TRIGGER CRON '0 0 * * *' WITH (slot_delay = '2 hours', missed = 'all') AS
  SELECT getvariable('slot_start')::DATE AS day, shop, sum(amount) AS revenue, count(*) AS sales
  FROM sales
  WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end')
  GROUP BY shop;
