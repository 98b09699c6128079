// Package e2e has no code of its own: its tests run the tidemill program as users do, against a NATS server on a
// real socket, kill it, and compare what its sinks hold with plain DuckDB over the very rows of the stream.
package e2e
