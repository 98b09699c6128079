package peers

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/benchmarks/yahoo"
)

// yahooSuite is the Yahoo Streaming Benchmark from JSON files to Parquet: the views of each campaign in 10 seconds.
func yahooSuite(_ context.Context, r *run, dir string) ([]*workload, error) {
	rows := cmp.Or(r.Rows, 8_000_000)
	err := benchmarks.WriteDataset("yahoo", benchmarks.Dataset{Dir: dir, Seed: r.Seed, Rows: rows, Files: r.Files, Rate: r.Rate})
	if err != nil {
		return nil, fmt.Errorf("make the input: %w", err)
	}
	w := &workload{suite: "yahoo", name: "yahoo", rows: rows,
		tables: []table{{name: "events", dir: filepath.Join(dir, "events"), ndjson: true, ts: "event_time", delay: "5 seconds",
			columns: "user_id VARCHAR, page_id VARCHAR, ad_id VARCHAR, ad_type VARCHAR, event_type VARCHAR, " +
				"event_time TIMESTAMP, ip_address VARCHAR"}},
		static: []table{{name: "campaigns", dir: dir, ndjson: true, columns: "ad_id VARCHAR, campaign_id VARCHAR"}},
		body:   yahoo.Body,
		// Engines that filter before they look at the time may be a little behind with the last window.
		final: "window_start <= (SELECT max(event_time) - INTERVAL '16 seconds' FROM events)"}
	w.warm, err = warm(filepath.Join(dir, "warm"), w.tables)
	return []*workload{w}, err
}
