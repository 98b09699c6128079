package peers

import (
	"path/filepath"

	"github.com/tidemill/tidemill/internal/duck"
)

// sparkStates are Spark with its state in memory, written to files, and in RocksDB.
func sparkStates(dir string) []contender {
	files := script{dir: dir, engine: "spark", java: true, cuts: true, result: sparkResult, says: sparkSays,
		suites: func(*workload) bool { return true }}
	rocksDB := files
	rocksDB.variant, rocksDB.rocksDB, rocksDB.suites = "rocksdb", true, (*workload).stateful
	return []contender{files, rocksDB}
}

func sparkSays(w *workload) string {
	if w.update {
		return "at least once into Parquet of changed rows by foreachBatch; no file and no checkpoint is synced to disk"
	}
	return "exactly once into Parquet by the file sink's log; no file and no checkpoint is synced to disk"
}

// sparkResult reads what the file sink wrote, or the last change of each key.
func sparkResult(w *workload, j job) string {
	if !w.update {
		return parquetOf(j.Out)
	}
	by := ""
	for i, k := range w.keys {
		by += []string{"PARTITION BY ", ", "}[min(i, 1)] + duck.QuoteIdent(k)
	}
	return "SELECT * EXCLUDE (batch) FROM read_parquet(" + duck.QuoteLiteral(filepath.Join(j.Out, "batch=*", "*.parquet")) +
		", hive_partitioning = true) QUALIFY row_number() OVER (" + by + " ORDER BY batch DESC) = 1"
}

// stateful says whether a streaming engine keeps state for the query: where its state lives then matters.
func (w *workload) stateful() bool { return w.update || w.final != "" || w.state }
