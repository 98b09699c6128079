"""A count and a sum by key, in update mode."""

from pyspark.sql import functions as f


def query(read, name):
    rows = read.stream("rows", "parquet", "k BIGINT, v BIGINT")
    return rows.groupBy("k").agg(f.count("*").alias("n"), f.sum("v").alias("total"))
