"""The Yahoo Streaming Benchmark: the views of each campaign in windows of 10 seconds."""

from pyspark.sql import functions as f

EVENTS = (
    "user_id STRING, page_id STRING, ad_id STRING, ad_type STRING, event_type STRING, event_time TIMESTAMP, "
    "ip_address STRING"
)


def query(read, name):
    events = read.stream("events", "json", EVENTS).withWatermark("event_time", "5 seconds")
    campaigns = read.static("campaigns", "json", "ad_id STRING, campaign_id STRING").cache()
    views = events.where("event_type = 'view'").select("ad_id", "event_time")
    return (
        views.join(f.broadcast(campaigns), "ad_id")
        .groupBy(f.window("event_time", "10 seconds"), "campaign_id")
        .agg(f.count("*").alias("views"))
        .select(f.col("window.start").alias("window_start"), "campaign_id", "views")
    )
