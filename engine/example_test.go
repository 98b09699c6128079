package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/tidemill/tidemill/engine"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	"github.com/tidemill/tidemill/sources/generator"
	"github.com/tidemill/tidemill/stream"
)

// The engine runs in any Go program: make a registry of connectors, read SQL, and run its queries. Here made-up rows
// are counted in windows of one minute, and the result stays in memory. Everything that must survive a crash lies
// under DataDir; another Run with the same DataDir goes on where the one before stopped.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "engine-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	held := sinkmem.NewHub()
	registry := stream.Registry{
		Sources: map[string]stream.SourceConnector{"generator": generator.Connector()},
		Sinks:   map[string]stream.SinkConnector{"memory": sinkmem.Connector(held)},
	}
	app, err := engine.Parse(ctx, registry, "example.sql", `
		CREATE SOURCE readings (sensor VARCHAR, value DOUBLE, ts TIMESTAMP,
		  WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
		WITH (connector = 'generator', rows = 200, fields = 'sensor: pick(a|b), ts: time(start=2026-01-01, step=1s)');
		CREATE SINK out WITH (connector = 'memory');
		CREATE QUERY per_minute INTO out TRIGGER AVAILABLE NOW AS
		  SELECT strftime(window_start, '%H:%M') AS start, count(*) AS n, count(DISTINCT sensor) AS sensors
		  FROM tumble(readings, ts, INTERVAL '1 minute') GROUP BY window_start;`)
	if err != nil {
		log.Fatal(engine.Render(err))
	}
	opt := engine.Options{
		DataDir:  dir,
		Registry: registry,
		Parse:    engine.Parser(registry),
		Listener: engine.Listener{BatchDone: func(p engine.Progress) {
			fmt.Printf("batch %d: %d rows in, %d out\n", p.BatchID, p.NumInputRows, p.Sink.NumOutputRows)
		}},
	}
	if err := engine.Run(ctx, opt, app, nil, nil); err != nil { // all queries, until their triggers end
		log.Fatal(engine.Render(err))
	}
	for _, row := range held.Rows("out") {
		fmt.Println(strings.Trim(fmt.Sprint(row), "[]"))
	}
	// Output:
	// batch 0: 200 rows in, 0 out
	// batch 1: 0 rows in, 3 out
	// 00:00 60 2
	// 00:01 60 2
	// 00:02 60 2
}
