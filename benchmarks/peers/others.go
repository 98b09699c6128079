package peers

import (
	"path/filepath"
	"slices"

	"github.com/tidemill/tidemill/internal/duck"
)

// others are engines that run some of the suites. Each writes JSON.
func others(dir string) []contender {
	json := func(_ *workload, j job) string {
		return "SELECT * FROM read_json(" + duck.QuoteLiteral(filepath.Join(j.Out, "*")) + ", format := 'newline_delimited')"
	}
	standing := func(w *workload, j job) string { // diff is 1 for a row that comes and -1 for one that goes
		return "SELECT * EXCLUDE (diff, time) FROM (" + json(w, j) + ") GROUP BY ALL HAVING sum(diff) > 0"
	}
	in := func(suites ...string) func(*workload) bool {
		return func(w *workload) bool { return slices.Contains(suites, w.suite) }
	}
	says := func(text string) func(*workload) string { return func(*workload) string { return text } }
	return []contender{
		script{dir: dir, engine: "flink", java: true, suites: in("start", "copy", "yahoo"), result: json,
			says: says("exactly once into JSON by checkpoints, one each second; files are committed by checkpoints")},
		script{dir: dir, engine: "pathway", suites: in("start", "copy", "yahoo"), result: standing,
			says: says("none: one pass over the files into JSON, without persistence")},
		script{dir: dir, engine: "bytewax", suites: in("start", "copy"), result: json,
			says: says("none: one pass over the files into JSON, without recovery")},
	}
}
