package peers

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// contender is an engine in one of its settings.
type contender interface {
	// name is what the report calls it.
	name() string
	// takes says whether it can be asked at all.
	takes(w *workload) bool
	// batches says whether it cuts the input into batches, whose size is then tuned.
	batches() bool
	// command starts a run. The folder of j.Out is there, j.Out is not.
	command(w *workload, j job) (command, error)
	// got is a SELECT of the result that a run left behind: every row in append mode, the last of each key in update
	// mode.
	got(w *workload, j job) string
	// guarantee says what it promises while it is measured.
	guarantee(w *workload) string
}

// parquetOf reads the Parquet files of a folder.
func parquetOf(dir string) string {
	return "SELECT * FROM read_parquet(" + duck.QuoteLiteral(filepath.Join(dir, "*.parquet")) + ")"
}

// tidemill is `tidemill run`, as a user runs it.
type tidemill struct {
	binary  string
	threads int
}

func (tidemill) name() string         { return "tidemill" }
func (tidemill) takes(*workload) bool { return true }
func (tidemill) batches() bool        { return true }

func (t tidemill) command(w *workload, j job) (command, error) {
	file := filepath.Join(j.Scratch, "query.sql")
	if err := writeFile(file, t.script(w, j)); err != nil {
		return command{}, err
	}
	args := []string{"run", file, "--data-dir", j.Checkpoint, "--listen", "off", "--progress", "jsonl"}
	if t.threads > 0 {
		args = append(args, "--threads", fmt.Sprint(t.threads))
	}
	if !j.Follow {
		args = append(args, "--available-now")
	}
	return command{path: t.binary, args: args, term: true}, nil
}

// script is the whole file of SQL.
func (tidemill) script(w *workload, j job) string {
	var b strings.Builder
	for _, t := range w.tables {
		fmt.Fprintf(&b, "CREATE SOURCE %s (%s", t.name, t.columns)
		if t.delay != "" {
			fmt.Fprintf(&b, ", WATERMARK FOR %s AS %s - INTERVAL '%s'", t.ts, t.ts, t.delay)
		}
		fmt.Fprintf(&b, ")\n  WITH (connector = 'file', path = %s, format = '%s'", duck.QuoteLiteral(t.glob()), t.format())
		if j.Files > 0 {
			fmt.Fprintf(&b, ", max_files_per_batch = %d", j.Files)
		}
		if w.follow {
			b.WriteString(", poll_interval = '5 ms'")
		}
		b.WriteString(");\n")
	}
	for _, t := range w.static {
		fmt.Fprintf(&b, "CREATE TABLE %s AS %s;\n", t.name, t.read())
	}
	mode := "APPEND"
	if w.update {
		mode = "UPDATE"
		fmt.Fprintf(&b, "CREATE SINK result WITH (connector = 'duckdb', path = %s);\n", duck.QuoteLiteral(j.Out))
	} else {
		fmt.Fprintf(&b, "CREATE SINK result WITH (connector = 'parquet', path = %s, compression = 'snappy');\n",
			duck.QuoteLiteral(j.Out))
	}
	fmt.Fprintf(&b, "%s\nCREATE QUERY q INTO result OUTPUT MODE %s AS\n%s;\n", w.setup, mode, w.body)
	return b.String()
}

func (tidemill) got(w *workload, j job) string {
	if w.update {
		return "SELECT * FROM sunk.result" // attached by compare
	}
	return parquetOf(j.Out)
}

func (tidemill) guarantee(w *workload) string {
	if w.update {
		return "exactly once into a DuckDB table that it upserts; log and table are synced to disk before the next batch"
	}
	return "exactly once into Parquet; log and files are synced to disk before the next batch"
}

// plainDuck is DuckDB alone, in one go: what the machine can do at best.
type plainDuck struct{ binary string }

// DuckDBCommand is the hidden command of the binary that RunDuckDB serves.
const DuckDBCommand = "bench-duckdb"

func (plainDuck) name() string           { return "duckdb" }
func (plainDuck) takes(w *workload) bool { return !w.follow }
func (plainDuck) batches() bool          { return false }

func (p plainDuck) command(w *workload, j job) (command, error) {
	j.SQL = w.views() + ";\nCOPY (" + w.answer() + ") TO " + duck.QuoteLiteral(j.Out) +
		" (FORMAT parquet, PER_THREAD_OUTPUT true)"
	return command{path: p.binary, args: []string{DuckDBCommand}, input: j}, nil
}

func (plainDuck) got(_ *workload, j job) string { return parquetOf(j.Out) }

func (plainDuck) guarantee(*workload) string {
	return "none: one query over all files, into Parquet that nobody syncs; no state, no log, nothing to go on from"
}
