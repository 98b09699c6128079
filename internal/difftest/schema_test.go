package difftest_test

import (
	"fmt"
	"math"
	"strings"
	"time"

	"pgregory.net/rapid"
)

// column is a declared column. An expr makes it a computed one.
type column struct{ name, typ, expr string }

// source is a random stream: its declaration and how its rows come.
type source struct {
	name     string
	cols     []column
	limit    int  // rows of a batch; 0 for all there are
	delay    int  // of the watermark, in seconds; -1 for none
	computed bool // the event time is computed from microseconds since 1970
	front    int64
	made     int // rows so far; row n has id n
}

// world is the schema of a case.
type world struct {
	t       *rapid.T
	sources []*source
	late    bool // rows may come later than the watermark allows
	policy  string
	base    int64 // microseconds since 1970 where event time begins
	key     keyKind
}

// The greatest disorder of a world whose rows are never late, in seconds; its delays are longer.
const disorder = 8

func newWorld(t *rapid.T, least int) *world {
	w := &world{t: t, late: rapid.Bool().Draw(t, "late rows")}
	if w.policy = "min"; w.late && least > 1 && rapid.IntRange(0, 3).Draw(t, "policy") == 0 {
		w.policy = "max" // with which rows are late that would not be otherwise
	}
	w.base = rapid.SampledFrom([]int64{1_767_225_600, -30, 951_782_395, -62_135_596_790, 253_402_300_000}).Draw(t, "epoch") * 1_000_000
	w.key = drawKey(t)
	for _, name := range []string{"a", "b", "c"}[:least] {
		w.sources = append(w.sources, w.newSource(name))
	}
	return w
}

func (w *world) newSource(name string) *source {
	s := &source{name: name, computed: rapid.IntRange(0, 3).Draw(w.t, "computed time") == 0, front: w.base + 20_000_000}
	optional := []column{{name: "s", typ: "VARCHAR"}, {name: "f", typ: "DOUBLE"}, {name: "ok", typ: "BOOLEAN"},
		{name: "day", typ: "DATE"}, {name: "d", typ: rapid.SampledFrom([]string{"DECIMAL(10,2)", "DECIMAL(18,4)",
			"DECIMAL(30,1)"}).Draw(w.t, "decimal")}}
	s.cols = append([]column{{name: "id", typ: "BIGINT"}, {name: "v", typ: "INTEGER"}}, w.key.columns()...)
	s.cols = append(s.cols, optional...)
	time := column{name: "ts", typ: "TIMESTAMP"}
	if s.computed {
		s.cols = append(s.cols, column{name: "us", typ: "BIGINT"})
		time.expr = "make_timestamp(us)"
	}
	s.cols = append(s.cols, time)
	if rapid.Bool().Draw(w.t, "computed column") {
		s.cols = append(s.cols, column{name: "w", typ: "BIGINT", expr: "v * 2 + id % 3"})
	} else {
		s.cols = append(s.cols, column{name: "w", typ: "BIGINT"})
	}
	if rapid.Bool().Draw(w.t, "columns in another order") {
		s.cols = rapid.Permutation(s.cols).Draw(w.t, "order")
	}
	s.limit = rapid.SampledFrom([]int{0, 0, 1, 4}).Draw(w.t, "rows of a batch")
	s.delay = rapid.IntRange(disorder+1, 30).Draw(w.t, "delay")
	if w.late {
		s.delay = rapid.SampledFrom([]int{0, 0, 2, 5}).Draw(w.t, "delay")
	}
	return s
}

// declare writes the source's statement.
func (s *source) declare() string {
	parts := make([]string, 0, len(s.cols)+1)
	for _, c := range s.cols {
		text := c.name + " " + c.typ
		if c.expr != "" {
			text += " AS (" + c.expr + ")"
		}
		parts = append(parts, text)
	}
	if s.delay >= 0 {
		delay := ""
		if s.delay > 0 {
			delay = fmt.Sprintf(" - INTERVAL '%d seconds'", s.delay)
		}
		parts = append(parts, "WATERMARK FOR ts AS ts"+delay)
	}
	limit := ""
	if s.limit > 0 {
		limit = fmt.Sprintf(", max_rows_per_batch = %d", s.limit)
	}
	return fmt.Sprintf("CREATE SOURCE %s (%s) WITH (connector = 'memory'%s);", s.name, strings.Join(parts, ", "), limit)
}

// rows draws n more rows of a source: hot keys, NULLs, times in disorder, twins.
func (w *world) rows(s *source, n int) [][]any {
	var out [][]any
	for range n {
		s.made++
		s.front += rapid.SampledFrom([]int64{0, 0, 1, 1_000_000, 1_000_000, 2_000_000, 3_000_000, 6_500_000}).Draw(w.t, "forward")
		backs := []int64{0, 0, 1, 3, disorder}
		if w.late {
			backs = append(backs, 14, 40, 40)
		}
		at := s.front - rapid.SampledFrom(backs).Draw(w.t, "back")*1_000_000
		var when any = time.UnixMicro(at).UTC().Format("2006-01-02 15:04:05.999999")
		if s.computed {
			when = at
		}
		if rapid.IntRange(0, 15).Draw(w.t, "no time") == 0 {
			when = nil
		}
		var row []any
		for _, c := range s.cols {
			switch {
			case c.expr != "":
			case c.name == "id":
				row = append(row, int64(s.made))
			case c.name == "ts" || c.name == "us":
				row = append(row, when)
			default:
				row = append(row, w.cell(c))
			}
		}
		out = append(out, row)
	}
	return out
}

// cell draws a value. Few different ones make groups, ties, duplicates and matches.
func (w *world) cell(c column) any {
	switch {
	case c.name == "k" || c.name == "kt":
		return w.key.cell(w.t)
	case c.typ == "VARCHAR":
		return rapid.SampledFrom([]any{"x", "x", "Y", "it's", "naïve 😀", "", nil}).Draw(w.t, c.name)
	case c.typ == "DOUBLE":
		return rapid.SampledFrom([]any{nil, 0.0, math.Copysign(0, -1), 0.1, 0.2, -3.75, 0.7, 1e15, -1e15, 5e-324, 1e-9, 123456.789}).Draw(w.t, c.name)
	case c.typ == "BOOLEAN":
		return rapid.SampledFrom([]any{true, false, nil}).Draw(w.t, c.name)
	case c.typ == "DATE":
		return rapid.SampledFrom([]any{"2026-01-01", "2024-02-29", "1969-12-31", nil}).Draw(w.t, c.name)
	case strings.HasPrefix(c.typ, "DECIMAL"):
		return rapid.SampledFrom([]any{"1.5", "-0.1", "99999.9", "0.3", "0.3", nil}).Draw(w.t, c.name)
	case c.name == "w":
		return rapid.SampledFrom([]any{int64(-9007199254740993), int64(0), int64(5), int64(5), int64(1 << 40), nil}).Draw(w.t, c.name)
	}
	return rapid.SampledFrom([]any{nil, int64(0), int64(7), int64(31), int64(42), int64(51), int64(99), int64(99)}).Draw(w.t, c.name)
}

// refs are the reference tables that every case may join: r has each key once, m has some more than once.
func (w *world) refs() string {
	return fmt.Sprintf("CREATE TABLE r AS SELECT k, label, lim FROM (VALUES (%[1]s, 'one', 40), "+
		"(%[2]s, NULL, 10), (%[3]s, 'three', NULL), (%[4]s, 'never', 0)) t(k, label, lim);\n"+
		"CREATE TABLE m AS SELECT k, tag FROM (VALUES (%[1]s, 'p'), (%[1]s, 'q'), (%[2]s, 'r'), (NULL, 's')) t(k, tag);",
		w.key.literal(0), w.key.literal(1), w.key.literal(2), w.key.literal(4))
}
