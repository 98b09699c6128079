package difftest

import (
	"context"
	"fmt"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/vfs"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// Answer runs the batch plan of a played query once over its rows, in the order in which they were read,
// less those that keep leaves out. A nil keep leaves out those that came late.
func (o *Outcome) Answer(
	ctx context.Context, opt Options, keep func(source string, row Row) bool,
) ([][]any, error) {
	if keep == nil {
		keep = func(_ string, r Row) bool { return !r.Late }
	}
	if opt.MemoryLimit == 0 {
		opt.MemoryLimit = 256 << 20
	}
	hub := sourcemem.NewHub()
	defer hub.Release()
	for _, src := range o.Plan.Sources {
		var rows [][]any
		for _, r := range o.Rows[src.Name] {
			if keep(src.Name, r) {
				rows = append(rows, r.Values)
			}
		}
		if err := hub.Add(src.Name, given(src), rows); err != nil {
			return nil, fmt.Errorf("add to %s: %w", src.Name, err)
		}
	}
	reg := stream.Registry{Sources: map[string]stream.SourceConnector{"memory": sourcemem.Connector(hub)},
		Sinks: o.registry.Sinks}
	eo := engine.Options{DataDir: opt.Dir, FS: vfs.NewMem(), Registry: reg, MemoryLimit: opt.MemoryLimit,
		Threads: 1}
	res, err := engine.Batch(ctx, eo, o.App, o.App.Queries[0].Name, engine.BatchOptions{})
	if err != nil {
		return nil, fmt.Errorf("run the batch plan: %w", err)
	}
	defer res.Release()
	rows := Values(res.Result.Records)
	if res.Result.Op { // a batch run takes nothing back: every row is an upsert
		for i := range rows {
			rows[i] = rows[i][:len(rows[i])-1]
		}
	}
	return rows, nil
}
