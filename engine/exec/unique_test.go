package exec

import (
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// TestUniqueKeys asks for the same rows and counts whether a reference table has a key once or, since it was loaded
// anew, twice, though other statements run.
func TestUniqueKeys(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p, err := f.plan(stream.Update, "SELECT name, count(*) AS n, sum(v) AS s FROM src JOIN ref ON src.k = ref.k GROUP BY name")
	require.NoError(t, err)
	require.Equal(t, []planner.TableKey{{Table: "ref", Columns: []string{"k"}}}, p.Unique)
	s := f.open(p)
	batch := int64(0)
	run := func(ref string, used int64, want ...string) {
		t.Helper()
		batch++
		tab, err := s.conn.Select(t.Context(), "SELECT * FROM ("+ref+") r(k, name)")
		require.NoError(t, err)
		defer tab.Release()
		require.NoError(t, s.LoadTable(t.Context(), "ref", tab))
		rec := record([]row{{"a", 1, 0.5, 1}, {"b", 2, 0.5, 1}, {"c", 3, 0.5, 1}, {"a", 4, 0.5, 1}, {nil, 5, 0.5, 1}})
		defer rec.Release()
		out, err := s.Run(t.Context(), Call{Batch: batch, Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
		require.NoError(t, err)
		defer out.Result.Release()
		require.Equal(t, want, sorted(texts(out.Result)))
		require.Equal(t, used, out.Sources["src"].Used)
		require.Equal(t, 5-used, out.Sources["src"].Filtered)
	}
	once, twice := "VALUES ('a', 'anna'), ('b', 'bert'), (NULL, 'x'), (NULL, 'y')", "VALUES ('a', 'anna'), ('b', 'bert'), ('b', 'bea')"
	run(once, 3, "anna|2|5", "bert|1|2")
	require.Empty(t, s.repeats)
	run(twice, 3, "anna|4|10", "bea|1|2", "bert|2|4")
	require.NotEmpty(t, s.repeats)
	run(once, 3, "anna|6|15", "bert|3|6")
	require.Empty(t, s.repeats)
}

// TestNoUniqueKey asks that no key is seen where equality of the keys does not mean one row: other types, which are cast,
// other comparisons, and sides that both are the table's.
func TestNoUniqueKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, join := range []string{"JOIN ref ON src.v = ref.k", "JOIN ref ON src.k >= ref.k", "JOIN ref ON ref.name = ref.k",
		"JOIN ref ON src.k = lower(ref.k)", "JOIN ref ON src.k = ref.k OR src.k = ref.name", "CROSS JOIN ref",
		"JOIN ref ON src.k = ref.k JOIN ref other ON other.name >= src.k"} {
		p, err := f.plan(stream.Update, "SELECT src.v, count(*) AS n FROM src "+join+" GROUP BY src.v")
		require.NoError(t, err, join)
		require.Empty(t, p.Unique, join)
	}
	for _, join := range []string{"LEFT JOIN ref USING (k)", "JOIN ref r ON r.k = src.k AND src.v > 1",
		"JOIN ref ON src.k = ref.k JOIN ref other ON other.k = src.k"} {
		p, err := f.plan(stream.Update, "SELECT src.v, count(*) AS n FROM src "+join+" GROUP BY src.v")
		require.NoError(t, err, join)
		require.Equal(t, []planner.TableKey{{Table: "ref", Columns: []string{"k"}}}, p.Unique, join)
	}
}

// TestUnread asks that records with all columns and those with just the ones that are read give the same.
func TestUnread(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT k FROM src WHERE k <> 'b'")
	require.NoError(t, err)
	require.Equal(t, []string{"f"}, p.Inputs[0].Unread, "v is read by the computed w, ts by the watermark")
	s := f.open(p)
	whole := record([]row{{"a", 1, 0.5, 1}, {"b", 2, 0.5, 1}})
	defer whole.Release()
	narrow := whole.NewSlice(0, 2)
	defer narrow.Release()
	for i, rec := range []arrow.Record{whole, without(t, narrow, "f")} {
		out, err := s.Run(t.Context(), Call{Batch: int64(i), Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
		require.NoError(t, err)
		require.Equal(t, []string{"a"}, texts(out.Result))
		out.Result.Release()
	}
	_, err = s.Run(t.Context(), Call{Batch: 3, Inputs: map[string]Input{"src": {Records: []arrow.Record{without(t, narrow, "f", "v")}}}})
	require.ErrorContains(t, err, "gave 2 columns, not 3")
}

// TestWholeRowsInSubqueries asks that they are refused as they are elsewhere: they would show the hidden position. A
// subquery may have a relation of that name itself, and a table function is given relations by name.
func TestWholeRowsInSubqueries(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, body := range []string{"SELECT k FROM src s WHERE (SELECT to_json(s)::VARCHAR) LIKE '%5%'",
		"SELECT k FROM src WHERE EXISTS (SELECT 1 FROM ref WHERE ref.k = src.k AND to_json(src)::VARCHAR LIKE '%5%')"} {
		_, err := f.plan(stream.Append, body)
		require.Equal(t, diag.ShapeUnsupported, diag.CodeOf(err), body)
	}
	for _, body := range []string{"SELECT k FROM src s WHERE EXISTS (SELECT 1 FROM ref s WHERE to_json(s)::VARCHAR LIKE '%5%')",
		"SELECT k FROM src WHERE k IN (SELECT k FROM ref WHERE src.k = ref.k)"} {
		_, err := f.plan(stream.Append, body)
		require.NoError(t, err, body)
	}
}

func without(t *testing.T, rec arrow.Record, names ...string) arrow.Record {
	t.Helper()
	var fields []arrow.Field
	var cols []arrow.Array
	for i, field := range rec.Schema().Fields() {
		if !slices.Contains(names, field.Name) {
			fields, cols = append(fields, field), append(cols, rec.Column(i))
		}
	}
	out := array.NewRecord(arrow.NewSchema(fields, nil), cols, rec.NumRows())
	t.Cleanup(out.Release)
	return out
}
