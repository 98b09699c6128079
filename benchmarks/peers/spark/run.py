"""Runs one job of the peers' benchmark in Spark Structured Streaming; see the comment of Go's package peers.

Settings, for a machine of two cores: local[2], as many shuffle partitions as cores, no UI, a heap that is large enough
for every suite, UTC. State is in memory and written to files, or in RocksDB with its changelog.
"""

import json
import os
import sys
import threading

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQueryListener

import suites

lock = threading.Lock()


def say(text):
    """Writes one line; the listener has a thread of its own."""
    with lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def event(name, **more):
    say(json.dumps({"event": name, **more}))


class Listener(StreamingQueryListener):
    """Repeats each batch's progress as a line, and knows when a query has told all of it."""

    def __init__(self):
        super().__init__()
        self.ended = threading.Event()

    def onQueryStarted(self, started):
        pass

    def onQueryProgress(self, progressed):
        say(progressed.progress.json)

    def onQueryIdle(self, idle):
        pass

    def onQueryTerminated(self, terminated):
        self.ended.set()


def session(job):
    build = (
        SparkSession.builder.master("local[2]")
        .appName("peers")
        .config("spark.driver.memory", os.environ.get("PEERS_SPARK_MEMORY", "4g"))
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.local.dir", os.path.join(job["scratch"], "local"))
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .config("spark.sql.streaming.numRecentProgressUpdates", "1")
    )
    if job["rocksdb"]:
        provider = "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
        rocksdb = "spark.sql.streaming.stateStore.rocksdb."
        build = (
            build.config("spark.sql.streaming.stateStore.providerClass", provider)
            .config(rocksdb + "changelogCheckpointing.enabled", "true")
            .config(rocksdb + "trackTotalNumberOfRows", "false")  # counting costs a read for each write
        )
    spark = build.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def start(spark, job, tables, out, checkpoint, files, follow):
    """Starts the job's query over these folders."""
    read = suites.Reader(spark, tables, job["static"], files)
    frame = suites.query(job, read)
    writer = frame.writeStream.option("checkpointLocation", checkpoint)
    if not follow:  # else a batch begins as soon as the one before has ended: the least latency there is
        writer = writer.trigger(availableNow=True)
    if not job["update"]:
        return writer.outputMode("append").format("parquet").option("path", out).start()

    def save(rows, batch):
        rows.write.mode("overwrite").parquet(os.path.join(out, f"batch={batch}"))

    return writer.outputMode("update").foreachBatch(save).start()


def run(spark, job, listener):
    if job["warm"]:
        scratch = os.path.join(job["scratch"], "warm")
        warm = start(spark, job, job["warm"], scratch + "-out", scratch + "-checkpoint", max(1, job["files"] // 2), False)
        warm.awaitTermination()
        listener.ended.wait()
        listener.ended.clear()
    event("start")
    query = start(spark, job, job["tables"], job["out"], job["checkpoint"], job["files"], job["follow"])
    if job["follow"]:
        sys.stdin.read()
        query.stop()
    query.awaitTermination()
    listener.ended.wait()
    event("done")
    if not job["follow"]:
        sys.stdin.read()


def main():
    job = json.loads(sys.stdin.readline())
    spark = session(job)
    event("ready", version=spark.version)
    listener = Listener()
    spark.streams.addListener(listener)
    try:
        run(spark, job, listener)
    except AnalysisException as fault:  # what fails later is a failure, not a refusal
        event("refused", code=fault.getCondition() or type(fault).__name__, message=str(fault).split("\n")[0])
    spark.stop()


main()
