"""Runs one job of the peers' benchmark in Bytewax; see the comment of Go's package peers.

Each row goes through Python: lines are decoded, filtered and encoded by functions of this script. Bytewax reports no
batches."""

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import bytewax.operators as op
from bytewax.connectors.files import DirSource, FileSink
from bytewax.dataflow import Dataflow
from bytewax.testing import cluster_main


def event(name, **more):
    sys.stdout.write(json.dumps({"event": name, **more}) + "\n")
    sys.stdout.flush()


def kept(line):
    row = json.loads(line)
    if row["amount"] < 250:
        return None
    return json.dumps({name: row[name] for name in ("order_id", "user_id", "country", "amount", "ts")})


def main():
    job = json.loads(sys.stdin.readline())
    event("ready", version=version("bytewax"))
    os.makedirs(job["out"])
    flow = Dataflow("copy")
    lines = op.input("in", flow, DirSource(Path(job["tables"]["rows"]), glob_pat="*.ndjson", batch_size=1000))
    rows = op.filter_map("keep", lines, kept)
    op.output("out", op.key_on("key", rows, lambda row: "all"), FileSink(Path(job["out"]) / "result.ndjson"))
    event("start")
    cluster_main(flow, [], 0, worker_count_per_proc=2)
    event("done")
    sys.stdin.read()


main()
