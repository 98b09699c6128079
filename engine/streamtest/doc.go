// Package streamtest runs pipeline cases: YAML files that say which rows arrive, when batches run, where the engine
// dies, and what must be in the sink then. They run on the real engine, planner, log, checkpoint and DuckDB, with the
// memory source and sink and a manual clock; nothing sleeps. docs/testing.md describes the format.
package streamtest
