-- Filter: large orders go to a stream of their own, one JSON object per message, a subject per country.
--   tidemill run app.sql
CREATE SOURCE orders (
  order_id BIGINT,
  country  VARCHAR,
  amount   DOUBLE,
  ts       TIMESTAMP
) WITH (connector = 'jetstream', url = '${NATS_URL:-nats://127.0.0.1:4222}', stream = 'ORDERS', format = 'json');

CREATE SINK large_stream WITH (connector = 'jetstream', url = '${NATS_URL:-nats://127.0.0.1:4222}',
  stream = 'LARGE', subject = 'large.{country}', payload = 'json');

CREATE QUERY large_orders INTO large_stream TRIGGER CONTINUOUS AS
  SELECT order_id, country, amount, ts FROM orders WHERE amount >= 100;
