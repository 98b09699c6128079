"""Runs one job of the peers' benchmark in Pathway; see the comment of Go's package peers.

Files are read once (mode static); PATHWAY_THREADS says how many workers there are. Pathway reports no batches."""

import json
import os
import sys
from datetime import timedelta
from importlib.metadata import version

import pathway as pw


class Rows(pw.Schema):
    order_id: int
    user_id: str
    country: str
    category: str
    amount: float
    note: str
    ts: str


class Events(pw.Schema):
    user_id: str
    page_id: str
    ad_id: str
    ad_type: str
    event_type: str
    event_time: str
    ip_address: str


class Campaigns(pw.Schema):
    ad_id: str
    campaign_id: str


def event(name, **more):
    sys.stdout.write(json.dumps({"event": name, **more}) + "\n")
    sys.stdout.flush()


def copy(job):
    rows = pw.io.jsonlines.read(job["tables"]["rows"], schema=Rows, mode="static")
    kept = rows.filter(rows.amount >= 250)
    return kept.select(kept.order_id, kept.user_id, kept.country, kept.amount, kept.ts)


def yahoo(job):
    events = pw.io.jsonlines.read(job["tables"]["events"], schema=Events, mode="static")
    path = os.path.join(job["static"]["campaigns"], "campaigns.ndjson")
    campaigns = pw.io.jsonlines.read(path, schema=Campaigns, mode="static")
    views = events.filter(events.event_type == "view")
    timed = views.join(campaigns, views.ad_id == campaigns.ad_id).select(
        campaigns.campaign_id, at=views.event_time.dt.strptime("%Y-%m-%dT%H:%M:%S.%f")
    )
    windows = pw.temporal.tumbling(duration=timedelta(seconds=10))
    return timed.windowby(timed.at, window=windows, instance=timed.campaign_id).reduce(
        window_start=pw.this._pw_window_start, campaign_id=pw.this._pw_instance, views=pw.reducers.count()
    )


SUITES = {"start": copy, "copy": copy, "yahoo": yahoo}


def main():
    job = json.loads(sys.stdin.readline())
    event("ready", version=version("pathway"))
    os.makedirs(job["out"])
    event("start")
    result = SUITES[job["suite"]](job)
    pw.io.jsonlines.write(result, os.path.join(job["out"], "result.ndjson"))
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)
    event("done")
    sys.stdin.read()


main()
