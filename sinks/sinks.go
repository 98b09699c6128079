// Package sinks joins the sink connectors of its subfolders into one map, which is how cmd makes a registry.
package sinks

import (
	"io"
	"maps"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/sinks/console"
	"github.com/tidemill/tidemill/sinks/duckdb"
	"github.com/tidemill/tidemill/sinks/files"
	"github.com/tidemill/tidemill/sinks/jetstream"
	"github.com/tidemill/tidemill/sinks/memory"
	"github.com/tidemill/tidemill/stream"
)

// Deps are what connectors share with the rest of the process.
type Deps struct {
	Console io.Writer    // where the console sink prints
	Files   *duckdb.Pool // the process's DuckDB files
	Memory  *memory.Hub  // what memory sinks hold
	NATS    natsconn.Dial
}

// Default returns every sink connector by its name.
func Default(d Deps) map[string]stream.SinkConnector {
	all := files.Connectors()
	maps.Copy(all, map[string]stream.SinkConnector{
		"console":   console.Connector(d.Console),
		"duckdb":    duckdb.Connector(d.Files),
		"jetstream": jetstream.Connector(d.NATS),
		"memory":    memory.Connector(d.Memory),
	})
	return all
}
