package exec

import (
	"fmt"
	"math/big"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

// fixture is an application by hand: source src(k VARCHAR, v INTEGER, f DOUBLE, ts TIMESTAMP, w BIGINT AS (v *
// 2))
// with a watermark of 10 seconds, other without a watermark and the computed column, and table ref(k, name).
type fixture struct {
	t   testing.TB
	db  *duck.DB
	app *planner.App

	near   bool // what joins give is found by keys outside of DuckDB
	direct bool // results are read by one statement: else those that can be gathered are, from few rows as from many
}

func column(name, typ string) planner.Column {
	at, err := duck.ArrowType(typ)
	if err != nil {
		panic(err)
	}
	return planner.Column{Column: stream.Column{Name: name, Type: typ, Arrow: at}}
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	return newFixtureOf(t, 2)
}

// newFixtureOf is newFixture with a number of threads for DuckDB.
func newFixtureOf(t testing.TB, threads int) *fixture {
	t.Helper()
	db := ducktest.Open(t, duck.Options{Sealed: true, Threads: threads})
	cols := []planner.Column{column("k", "VARCHAR"), column("v", "INTEGER"), column("f", "DOUBLE"),
		column("ts", "TIMESTAMP")}
	w := column("w", "BIGINT")
	w.Expr = "v * 2"
	return &fixture{t: t, db: db, app: &planner.App{
		Sources: []*planner.Source{
			{Name: "src", Columns: append(append([]planner.Column(nil), cols...), w),
				Watermark: &planner.Watermark{Column: "ts", Delay: 10 * time.Second}},
			{Name: "other", Columns: cols},
			{Name: "third", Columns: cols, Watermark: &planner.Watermark{Column: "ts",
				Delay: 5 * time.Second}},
			{Name: "more", Columns: cols, Watermark: &planner.Watermark{Column: "ts",
				Delay: 10 * time.Second}},
		},
		Tables: []*planner.Table{{Name: "ref", Columns: []stream.Column{column("k", "VARCHAR").Column,
			column("name", "VARCHAR").Column}}},
	}}
}

func (f *fixture) plan(mode stream.Mode, body string) (*planner.Plan, error) {
	f.t.Helper()
	return f.planWith(mode, body, nil)
}

func (f *fixture) planWith(mode stream.Mode, body string, o stream.Options) (*planner.Plan, error) {
	f.t.Helper()
	f.app.Text = &diag.Text{Name: "test.sql", Body: body}
	c, err := f.db.Conn(f.t.Context())
	require.NoError(f.t, err)
	defer func() { require.NoError(f.t, c.Close()) }()
	return planner.Build(f.t.Context(), f.app, &planner.Query{Name: "q", Body: body, Mode: mode, Options: o}, c)
}

func (f *fixture) open(p *planner.Plan) *Session {
	f.t.Helper()
	s, err := Open(f.t.Context(), Options{Plan: p, DB: f.db})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, s.Close()) })
	if !f.direct {
		s.many, s.share = 0, 1<<40
	}
	if f.near {
		s.many, s.share = gatherRows, 0
	}
	if len(p.Tables) > 0 {
		f.load(s)
	}
	return s
}

const refRows = "VALUES ('a', 'anna'), ('b', 'bert'), ('b', 'bea'), ('d', NULL)"

func (f *fixture) load(s *Session) {
	f.t.Helper()
	tab, err := s.conn.Select(f.t.Context(), "SELECT * FROM ("+refRows+") r(k, name)")
	require.NoError(f.t, err)
	defer tab.Release()
	require.NoError(f.t, s.LoadTable(f.t.Context(), "ref", tab))
}

// row is one input row; ts is in seconds since 1970, nil for NULL.
type row struct {
	k  any
	v  any
	f  any
	ts any
}

func record(rows []row) arrow.Record {
	ts := &arrow.TimestampType{Unit: arrow.Microsecond}
	schema := arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "v", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: "f", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, {Name: "ts", Type: ts,
			Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, r := range rows {
		for i, v := range []any{r.k, r.v, r.f, r.ts} {
			if v == nil {
				b.Field(i).AppendNull()
				continue
			}
			switch fb := b.Field(i).(type) {
			case *array.StringBuilder:
				fb.Append(v.(string))
			case *array.Int32Builder:
				fb.Append(int32(v.(int)))
			case *array.Float64Builder:
				fb.Append(v.(float64))
			case *array.TimestampBuilder:
				fb.Append(arrow.Timestamp(v.(int) * 1_000_000))
			}
		}
	}
	return b.NewRecord()
}

// texts prints result rows, one text each, in order.
func texts(b stream.Batch) []string {
	var out []string
	for _, rec := range b.Records {
		for i := range int(rec.NumRows()) {
			parts := make([]string, rec.NumCols())
			for j := range parts {
				parts[j] = cell(rec.Column(j), i)
			}
			out = append(out, strings.Join(parts, "|"))
		}
	}
	return out
}

func cell(a arrow.Array, i int) string {
	if a.IsNull(i) {
		return "NULL"
	}
	switch a := a.(type) {
	case *array.Decimal128:
		return a.Value(i).ToString(a.DataType().(*arrow.Decimal128Type).Scale)
	case *array.Timestamp:
		return fmt.Sprint(int64(a.Value(i)) / 1_000_000)
	case *array.Float64:
		return big.NewFloat(a.Value(i)).Text('g', 17)
	}
	return a.ValueStr(i)
}

func sorted(s []string) []string {
	out := append([]string(nil), s...)
	sort.Strings(out)
	return out
}

// snapshot takes a state version of a session, with all rows in memory.
func snapshot(t testing.TB, s *Session, full bool) []state.Change {
	t.Helper()
	changes, err := s.Snapshot(t.Context(), full)
	require.NoError(t, err)
	for i := range changes {
		c := &changes[i]
		if c.Rows == nil {
			continue
		}
		for rec := range c.Rows.Rows() {
			c.Records = append(c.Records, rec)
		}
		for rec := range c.Rows.Gone() {
			c.Deleted = append(c.Deleted, rec)
		}
		c.Rows.Close()
		c.Rows = nil
	}
	return changes
}
