"""File to file: JSON rows, half of which are kept."""

SCHEMA = (
    "order_id BIGINT, user_id STRING, country STRING, category STRING, amount DECIMAL(10,2), note STRING, ts TIMESTAMP"
)


def query(read, name):
    rows = read.stream("rows", "json", SCHEMA)
    return rows.where("amount >= 250").select("order_id", "user_id", "country", "amount", "ts")
