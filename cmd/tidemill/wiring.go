package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks"
	"github.com/tidemill/tidemill/sinks/duckdb"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	"github.com/tidemill/tidemill/sources"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// registry is every connector of this build, made once: sinks on one DuckDB file share it. Memory sources and sinks
// get hubs of their own: only cases use them.
func registry(e *env) stream.Registry {
	if e.connectors == nil {
		e.connectors = &stream.Registry{
			Sources: sources.Default(sourcemem.NewHub(), e.dialNATS),
			Sinks: sinks.Default(sinks.Deps{Console: e.screen(), Memory: sinkmem.NewHub(), NATS: e.dialNATS,
				Files: duckdb.NewPool(duck.Options{MemoryLimit: 512 << 20})}),
		}
	}
	return *e.connectors
}

// parser is what the engine reads an older text of a query with.
func (e *env) parser() func(context.Context, *diag.Text) (*planner.App, error) {
	return func(ctx context.Context, text *diag.Text) (*planner.App, error) {
		return e.parse(ctx, text, registry(e))
	}
}

// version is the module's version as the Go tool stamped it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}

// libraries lists the versions that matter for what Tidemill answers.
func libraries() map[string]string {
	want := map[string]string{"github.com/marcboeker/go-duckdb": "go-duckdb",
		"github.com/apache/arrow/go/v17": "arrow",
		"github.com/nats-io/nats.go":     "nats.go", "github.com/nats-io/nats-server/v2": "nats-server"}
	found := map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go"), "duckdb": duck.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if name, ok := want[dep.Path]; ok {
				found[name] = dep.Version
			}
		}
	}
	return found
}
