package difftest_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/internal/difftest"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/sqlfront"
)

// oracle is a plain DuckDB that gets the rows of a case in the order of the log.
type oracle struct {
	t    *rapid.T
	conn *duck.Conn
	w    *world
	q    query
	mode string
	out  *difftest.Outcome
}

// keep says of a pair of row and window whether it was not late.
const keep = "(__late IS NULL OR window_end > __late)"

// macros are the windows of a stock shell; tumble and hop leave out late pairs where the query does,
// every_tumble and every_hop never do.
func macros(drop bool) []string {
	prelude := sqlfront.Prelude()
	every := strings.NewReplacer("MACRO tumble", "TEMP MACRO every_tumble", "MACRO hop", "TEMP MACRO every_hop",
		"MACRO session", "TEMP MACRO session").Replace(prelude)
	cond := "true"
	if drop {
		cond = keep
	}
	return []string{every, "CREATE OR REPLACE TEMP MACRO tumble " +
		"(__src, __ts, __size) AS TABLE (SELECT * FROM (SELECT *, time_bucket(__size, __ts, TIMESTAMP '1970-01-01') AS window_start, " +
		"time_bucket(__size, __ts, TIMESTAMP '1970-01-01') + __size AS window_end FROM query_table(__src) WHERE __ts IS NOT NULL) WHERE " + cond + "), " +
		"(__src, __ts, __size, __o) AS TABLE (SELECT * FROM (SELECT *, time_bucket(__size, __ts, TIMESTAMP '1970-01-01' + __o) AS window_start, " +
		"time_bucket(__size, __ts, TIMESTAMP '1970-01-01' + __o) + __size AS window_end FROM query_table(__src) WHERE __ts IS NOT NULL) WHERE " + cond + ")",
		"CREATE OR REPLACE TEMP MACRO hop(__src, __ts, __slide, __size) AS TABLE SELECT * EXCLUDE (__start) FROM (" +
			"SELECT *, __start AS window_start, __start + __size AS window_end FROM (SELECT *, unnest(range(" +
			"time_bucket(__slide, __ts, TIMESTAMP '1970-01-01') - __size + __slide, time_bucket(__slide, __ts, TIMESTAMP '1970-01-01') + __slide, " +
			"__slide)) AS __start FROM query_table(__src) WHERE __ts IS NOT NULL)) WHERE " + cond}
}

func (o *oracle) exec(sql string) {
	_, err := o.conn.Exec(o.t.Context(), sql)
	require.NoError(o.t, err, sql)
}

// load gives the rows, the reference tables, the macros and the views to DuckDB.
func (o *oracle) load() {
	for _, sql := range macros(o.q.late == lateWindows && o.mode != "COMPLETE") {
		o.exec(sql)
	}
	o.exec("CREATE OR REPLACE TEMP MACRO twice(x) AS x * 2")
	o.exec(strings.ReplaceAll(o.w.refs(), "CREATE TABLE", "CREATE TEMP TABLE"))
	for _, s := range o.w.sources {
		o.table(s)
	}
	for _, sql := range o.q.before {
		o.exec(strings.Replace(o.q.plain(sql), "CREATE VIEW", "CREATE TEMP VIEW", 1))
	}
}

func (o *oracle) table(s *source) {
	var given, types, all []string
	for _, c := range s.cols {
		if c.expr != "" {
			all = append(all, c.expr+" AS "+c.name)
			continue
		}
		given, all = append(given, c.name), append(all, c.name)
		types = append(types, c.name+" "+c.typ)
	}
	o.exec(fmt.Sprintf("CREATE TEMP TABLE raw_%s (%s, __ord BIGINT, __late TIMESTAMP)", s.name, strings.Join(types, ", ")))
	var lines []string
	for _, r := range o.out.Rows[s.name] {
		if r.Batch < 0 || o.q.late == lateRows && r.Late {
			continue
		}
		cells := make([]string, 0, len(given)+2)
		for _, v := range r.Values {
			cells = append(cells, literal(v))
		}
		late := "NULL"
		if r.LateBy != nil && o.mode != "COMPLETE" {
			late = fmt.Sprintf("make_timestamp(%d)", *r.LateBy)
		}
		lines = append(lines, "("+strings.Join(append(cells, fmt.Sprint(r.Order), late), ", ")+")")
	}
	if len(lines) > 0 {
		o.exec("INSERT INTO raw_" + s.name + " VALUES " + strings.Join(lines, ", "))
	}
	o.exec(fmt.Sprintf("CREATE TEMP TABLE %s AS SELECT %s, __ord, __late FROM raw_%s ORDER BY __ord", s.name, strings.Join(all, ", "), s.name))
}

func literal(v any) string {
	switch x := v.(type) {
	case nil:
		return "NULL"
	case string:
		return "'" + strings.ReplaceAll(x, "'", "''") + "'"
	case float64:
		return "'" + strconv.FormatFloat(x, 'g', -1, 64) + "'::DOUBLE"
	}
	return fmt.Sprint(v)
}

// answer is what plain DuckDB gives for the body.
func (o *oracle) answer() [][]any {
	table, err := o.conn.Select(o.t.Context(), o.q.plain(o.q.body))
	require.NoError(o.t, err, o.q.plain(o.q.body))
	defer table.Release()
	return difftest.Values(table.Records)
}

// checkLate compares which rows the engine left out as late with what the rule says, and returns what is
// wrong and how many the rule leaves out. A row in several windows is late if it is late in all of them.
func (o *oracle) checkLate() (string, int64) {
	if o.w.late && o.mode == "COMPLETE" && o.q.late == lateRows {
		return "", 0 // what stands below the aggregates, a join or DISTINCT, forgets by time in every mode
	}
	if !o.w.late || o.mode == "COMPLETE" || o.q.late == neverLate {
		if n := o.out.Late(); n > 0 {
			return fmt.Sprintf("no row of this case is late, but the engine left out %d", n), 0
		}
		return "", 0
	}
	if o.q.lateFrom == "" {
		return "", 0
	}
	rows, err := o.conn.Rows(o.t.Context(), "SELECT DISTINCT CAST(id AS VARCHAR) FROM ("+o.q.plain(o.q.lateFrom)+
		") GROUP BY id HAVING bool_and(coalesce(late, false))")
	require.NoError(o.t, err, o.q.lateFrom)
	var want, got []string
	for _, r := range rows {
		want = append(want, fmt.Sprint(r[0]))
	}
	for _, s := range o.w.sources {
		for i, r := range o.out.Rows[s.name] {
			if r.Late && len(o.out.Plan.Sources) > 1 {
				got = append(got, s.name+strconv.Itoa(i+1))
			} else if r.Late {
				got = append(got, strconv.Itoa(i+1))
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return fmt.Sprintf("late by the rule are the rows with id %v, the engine left out %v", want, got), int64(len(want))
	}
	return "", 0
}

// checkWatermarks computes the watermark of every batch from the rows of those before it, and returns what
// is wrong.
func checkWatermarks(w *world, out *difftest.Outcome) string {
	greatest := map[string]int64{}
	var now *int64
	for i, b := range out.Batches {
		got := b.EventTime.Watermark
		if (now == nil) != (got == nil) || now != nil && *now != got.UnixMicro() {
			want := "not known"
			if now != nil {
				want = time.UnixMicro(*now).UTC().String()
			}
			return fmt.Sprintf("the watermark of batch %d is %v, by the rule it is %s", i, got, want)
		}
		if next := advance(w, out, int64(i), greatest); next != nil && (now == nil || *next > *now) {
			now = next
		}
	}
	return ""
}

// advance takes in the rows of a batch and returns the least of the sources' watermarks, or nil while one
// is not known; by the other policy the greatest of those that are.
func advance(w *world, out *difftest.Outcome, batch int64, greatest map[string]int64) *int64 {
	var chosen *int64
	known := true
	for _, s := range w.sources {
		if s.delay < 0 || !reads(out, s.name) {
			continue
		}
		for _, r := range out.Rows[s.name] {
			if at := eventTime(s, r); r.Batch == batch && at != nil {
				most, seen := greatest[s.name]
				if !seen || *at > most {
					greatest[s.name] = *at
				}
			}
		}
		most, seen := greatest[s.name]
		known = known && seen
		if wm := most - int64(s.delay)*1_000_000; seen && (chosen == nil || (wm < *chosen) == (w.policy == "min")) {
			chosen = &wm
		}
	}
	if !known && w.policy == "min" {
		return nil
	}
	return chosen
}

func reads(out *difftest.Outcome, source string) bool {
	for _, s := range out.Plan.Sources {
		if s.Name == source {
			return true
		}
	}
	return false
}

// eventTime is a row's event time in microseconds since 1970, or nil.
func eventTime(s *source, r difftest.Row) *int64 {
	i := 0
	for _, c := range s.cols {
		if c.expr != "" {
			continue
		}
		if c.name == "ts" || c.name == "us" {
			switch v := r.Values[i].(type) {
			case int64:
				return &v
			case string:
				at, err := time.Parse("2006-01-02 15:04:05.999999", v)
				if err != nil {
					return nil
				}
				us := at.UnixMicro()
				return &us
			}
			return nil
		}
		i++
	}
	return nil
}
