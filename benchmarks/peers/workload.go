package peers

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// table is one input: files of rows in a folder.
type table struct {
	name    string
	dir     string // of the files
	staged  string // where they wait if they are to appear in dir one by one, or ""
	ndjson  bool   // else Parquet
	columns string // as CREATE SOURCE and read_json name them: "a BIGINT, b VARCHAR"
	delay   string // INTERVAL by which the watermark of column ts lags, or ""
	ts      string // the column of event time, or ""
}

// workload is one question that every contender is asked over the same files.
type workload struct {
	suite   string
	name    string // of the query; the suite's own where it has but one
	tables  []table
	static  []table           // read as a whole, once
	warm    map[string]string // folders of rows to warm up with, by table
	rows    int64             // of all tables, static ones left out
	setup   string            // statements of DuckDB before the query, or ""
	body    string            // the SELECT, in Tidemill's SQL, which plain DuckDB runs word for word but for the window macros
	want    string            // the same for plain DuckDB, where it has to be written by hand; "" for body
	final   string            // a condition on rows of the result: those that no later input can change; "" for all
	stable  string            // a SELECT over result, where only that does not depend on the clock; "" for all of it
	keys    []string
	update  bool // output mode update, in which keys name a row; else append
	follow  bool // rows go on arriving while it runs
	files   int  // that a batch takes; 0 for what each contender does best with
	ignored int  // files at the start that no figure counts, where rows go on arriving
	state   bool // a streaming engine keeps state for it, though it neither updates nor waits for a watermark
	cold    bool // what is measured is the start
}

func (t *table) format() string {
	if t.ndjson {
		return "ndjson"
	}
	return "parquet"
}

// glob is what a contender reads.
func (t *table) glob() string { return filepath.Join(t.dir, "*."+t.format()) }

// read is the FROM clause of plain DuckDB.
func (t *table) read() string {
	files := duck.QuoteLiteral(filepath.Join(cmp.Or(t.staged, t.dir), "*."+t.format()))
	if !t.ndjson {
		return "FROM read_parquet(" + files + ")"
	}
	var fields []string
	for column := range strings.SplitSeq(t.columns, ", ") {
		name, typ, _ := strings.Cut(column, " ")
		fields = append(fields, duck.QuoteLiteral(name)+": "+duck.QuoteLiteral(typ))
	}
	return fmt.Sprintf("FROM read_json(%s, format := 'newline_delimited', columns := {%s})",
		files, strings.Join(fields, ", "))
}

// views makes the tables of the workload known to plain DuckDB, each under its name.
func (w *workload) views() string {
	var b strings.Builder
	for _, t := range append(w.static[:len(w.static):len(w.static)], w.tables...) {
		fmt.Fprintf(&b, "CREATE OR REPLACE TEMP VIEW %s AS %s;\n", duck.QuoteIdent(t.name), t.read())
	}
	return b.String() + w.setup
}

// answer is the SELECT of plain DuckDB.
func (w *workload) answer() string {
	if w.want != "" {
		return w.want
	}
	return w.body
}

// comparable are the rows of a result that are compared.
func (w *workload) comparable(sql string) string {
	if w.stable != "" {
		return "WITH result AS (" + sql + ") " + w.stable
	}
	if w.final != "" {
		return "SELECT * FROM (" + sql + ") WHERE " + w.final
	}
	return sql
}

// job is one run of one workload, as a script is told on its standard input.
type job struct {
	Suite      string            `json:"suite"`
	Query      string            `json:"query"`
	Tables     map[string]string `json:"tables"` // folders by name
	Static     map[string]string `json:"static"`
	Warm       map[string]string `json:"warm"` // folders of the rows to warm up with; null for no warm-up
	Out        string            `json:"out"`  // a folder that is not there yet
	Checkpoint string            `json:"checkpoint"`
	Scratch    string            `json:"scratch"`
	Files      int               `json:"files"`  // of each table that one batch takes
	Follow     bool              `json:"follow"` // until standard input ends, else until all files are read
	RocksDB    bool              `json:"rocksdb"`
	Update     bool              `json:"update"`
	SQL        string            `json:"sql"` // for plain DuckDB
}

func folders(tables []table) map[string]string {
	out := map[string]string{}
	for _, t := range tables {
		out[t.name] = t.dir
	}
	return out
}
