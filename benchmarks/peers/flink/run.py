"""Runs one job of the peers' benchmark in Flink's SQL, on a cluster inside this process; see the comment of Go's package
peers.

Settings, for a machine of two cores: parallelism 2, streaming mode, a checkpoint each second, exactly once. Flink has no
batches, so it reports none. Its file system connector writes JSON, as Parquet would need a library that is not in the
package."""

import json
import os
import sys
from importlib.metadata import version

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment

ROWS = (
    "order_id BIGINT, user_id STRING, country STRING, category STRING, amount DECIMAL(10, 2), note STRING, "
    "ts TIMESTAMP(3)"
)
# Its file source reads files in no order of time. A watermark 5 s behind would make most rows late, and they would be
# lost; so far behind, windows close when the input ends.
EVENTS = (
    "user_id STRING, page_id STRING, ad_id STRING, ad_type STRING, event_type STRING, event_time TIMESTAMP(3), "
    "ip_address STRING, WATERMARK FOR event_time AS event_time - INTERVAL '30' DAY"
)
COPY = {
    "tables": {"rows": ROWS},
    "static": {},
    "result": "order_id BIGINT, user_id STRING, country STRING, amount DECIMAL(10, 2), ts TIMESTAMP(3)",
    "query": "SELECT order_id, user_id, country, amount, ts FROM {rows} WHERE amount >= 250",
}
SUITES = {
    "start": COPY,
    "copy": COPY,
    "yahoo": {
        "tables": {"events": EVENTS},
        # A table of versions, so that the join keeps the time of the events: each campaign has been valid since 1970.
        "static": {
            "campaigns": "ad_id STRING, campaign_id STRING, since AS TO_TIMESTAMP('1970-01-01 00:00:00'), "
            "WATERMARK FOR since AS since, PRIMARY KEY (ad_id) NOT ENFORCED"
        },
        "view": """SELECT e.event_time, c.campaign_id FROM {events} AS e
            JOIN {campaigns} FOR SYSTEM_TIME AS OF e.event_time AS c ON e.ad_id = c.ad_id WHERE e.event_type = 'view'""",
        "result": "window_start TIMESTAMP(3), campaign_id STRING, `views` BIGINT",
        "query": """SELECT window_start, campaign_id, count(*) AS `views`
            FROM TUMBLE(TABLE {view}, DESCRIPTOR(event_time), INTERVAL '10' SECOND)
            GROUP BY window_start, window_end, campaign_id""",
    },
}


def event(name, **more):
    sys.stdout.write(json.dumps({"event": name, **more}) + "\n")
    sys.stdout.flush()


def files(name, columns, path):
    return f"""CREATE TEMPORARY TABLE {name} ({columns}) WITH ('connector' = 'filesystem', 'path' = 'file://{path}',
        'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')"""


def run(env, suite, job, tables, out, prefix):
    """Runs the query of a suite over these folders to its end. prefix keeps the tables of two runs apart."""
    names = {}
    for kind, folders in (("tables", tables), ("static", job["static"])):
        for name, columns in suite[kind].items():
            names[name] = f"{prefix}_{name}"
            path = folders[name]
            if kind == "static":
                path = os.path.join(path, name + ".ndjson")
            env.execute_sql(files(names[name], columns, path))
    if "view" in suite:
        names["view"] = f"{prefix}_view"
        env.execute_sql(f"CREATE TEMPORARY VIEW {names['view']} AS " + suite["view"].format(**names))
    env.execute_sql(files(f"{prefix}_result", suite["result"], out))
    env.execute_sql(f"INSERT INTO {prefix}_result " + suite["query"].format(**names)).wait()


def main():
    job = json.loads(sys.stdin.readline())
    config = Configuration()
    for key, value in {
        "parallelism.default": "2",
        "taskmanager.numberOfTaskSlots": "2",
        "execution.checkpointing.interval": "1 s",
        "execution.checkpointing.dir": "file://" + os.path.join(job["scratch"], "checkpoints"),
        "table.local-time-zone": "UTC",
        "rest.bind-address": "127.0.0.1",
        "rest.address": "127.0.0.1",
        "rest.bind-port": "0",
    }.items():
        config.set_string(key, value)
    env = TableEnvironment.create(EnvironmentSettings.new_instance().with_configuration(config).in_streaming_mode().build())
    event("ready", version=version("apache-flink"))
    suite = SUITES[job["suite"]]
    if job["warm"]:
        run(env, suite, job, job["warm"], os.path.join(job["scratch"], "warm-out"), "warm")
    event("start")
    run(env, suite, job, job["tables"], job["out"], "main")
    event("done")
    sys.stdin.read()


main()
