-- A first query over JetStream. `feed` makes up 100 orders a second and writes them to the stream ORDERS; leave the
-- first three statements out once something else writes there.
--   tidemill run app.sql --embedded-nats --progress off
CREATE SOURCE made_up (order_id BIGINT, country VARCHAR, amount DECIMAL(10, 2), ts TIMESTAMP)
  WITH (connector = 'generator', rate = 100,
        fields = 'order_id: seq(start=1), country: pick(NO|SE*2), amount: float(1..100), ts: time(jitter=1s)');
CREATE SINK orders_stream WITH (connector = 'jetstream', url = '${NATS_URL:-nats://127.0.0.1:4222}',
  stream = 'ORDERS', subject = 'orders.{country}', payload = 'json');
CREATE QUERY feed INTO orders_stream AS FROM made_up;

CREATE SOURCE orders (order_id BIGINT, country VARCHAR, amount DECIMAL(10, 2), ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '1 second')
  WITH (connector = 'jetstream', url = '${NATS_URL:-nats://127.0.0.1:4222}', stream = 'ORDERS', format = 'json');
CREATE SINK screen WITH (connector = 'console');
CREATE QUERY revenue INTO screen AS
  SELECT window_start, country, sum(amount) AS revenue, count(*) AS orders
  FROM tumble(orders, ts, INTERVAL '5 seconds')
  GROUP BY ALL;
