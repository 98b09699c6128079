-- The smallest application: made-up rows to the screen. Needs nothing.
--   tidemill run app.sql --progress off
CREATE SOURCE ticks (
  n      BIGINT,
  symbol VARCHAR,
  price  DOUBLE
) WITH (connector = 'generator', rows = 10, fields = 'n: seq(start=1), symbol: pick(A|B|C), price: float(10..20)');

CREATE SINK screen WITH (connector = 'console');

CREATE QUERY prices INTO screen TRIGGER AVAILABLE NOW AS
  SELECT n, symbol, price FROM ticks WHERE symbol <> 'C';
