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

// TestFiltersKeepTheOrder lets a filter leave few of the first rows, and all of the rest, which would come before them.
func TestFiltersKeepTheOrder(t *testing.T) {
	for _, body := range []string{
		"SELECT v FROM src WHERE v < 5 OR v >= 4096", // has a computed column
		"SELECT v FROM other WHERE v < 5 OR v >= 4096",
		"SELECT v, regexp_extract(k, 'x(.*)', 1) AS x FROM other WHERE length(regexp_extract(k, 'x(.*)', 1)) = 0 AND (v < 5 OR v >= 4096)",
	} {
		for _, rows := range []int{20_000, 3 * partRows} {
			f := newFixtureOf(t, 2)
			p, err := f.plan(stream.Append, body)
			require.NoError(t, err)
			out, err := f.open(p).Run(t.Context(), Call{Inputs: map[string]Input{p.Inputs[0].Table: {Records: manyRows(t, rows)}}})
			require.NoError(t, err)
			got := numbers(out.Result)
			out.Result.Release()
			require.Len(t, got, rows-4091)
			require.True(t, slices.IsSorted(got), body)
		}
	}
}

// numbers returns the first column.
func numbers(b stream.Batch) (list []int32) {
	for _, rec := range b.Records {
		list = append(list, rec.Column(0).(*array.Int32).Int32Values()...)
	}
	return list
}

// TestOrKeepsTheOrder has conditions of which DuckDB's filters would give the rows of one operand first.
func TestOrKeepsTheOrder(t *testing.T) {
	f := newFixtureOf(t, 2)
	for _, where := range []string{
		"k = 'k1' OR v % 3 = 1", "v > 7 AND (k = 'k1' OR v % 3 = 1) AND v <> 50", "k IN ('k1', 'k5')", "k IN ('k' || v % 9, 'k5')",
		"k IN ('k1', 'k3', 'k5', 'x')", "k IN ('k1', 'k3', 'k5', 'x', 'y')", "k IN ('k1', 'k3', 'k5', 'x', 'y', 'z')",
		"k IN ('k1', 'k3', 'k5', 'x', 'y', 'z', 'k6')", "NOT (k <> 'k1' AND v % 3 <> 1)", "k NOT IN ('k1', 'k3')", "k = ANY (['k1', 'k5'])",
		"v < 5 OR v > 200 AND k IN ('k1', 'k3', 'k5', 'x', 'y')", "v < 5 OR v > 200 AND k NOT IN ('k1', 'k3', 'k5', 'x', 'y', 'z')",
		"v % 7 IN (2, 4)", "v IN (7, 5, 6) OR v > 500", "v > 3 AND (v >= 700 OR v IN (5))",
		"CASE WHEN k = 'k1' THEN TRUE ELSE v % 3 = 1 OR v % 5 = 1 END", "(k = 'k5' OR v % 3 = 1) IS NOT FALSE",
	} {
		for _, from := range []string{"src", "other", "(SELECT v, k FROM other WHERE v % 7 < 5 OR k = 'k2')"} {
			body := "SELECT v FROM " + from + " WHERE " + where
			p, err := f.plan(stream.Append, body)
			require.NoError(t, err)
			for _, rows := range []int{20_000, 2 * partRows} {
				if rows > partRows && from != "other" {
					continue // parts as there
				}
				in := p.Inputs[0].Table
				call := Call{Inputs: map[string]Input{in: {Records: manyRows(t, rows)}}}
				lent, err := f.open(p).Run(t.Context(), call)
				require.NoError(t, err)
				call.Excluded = map[string]map[int64]string{in: {2: "so that a table is made"}}
				kept, err := f.open(p).Run(t.Context(), call)
				require.NoError(t, err)
				for _, out := range []*Output{lent, kept} {
					requireInOrder(t, out, rows/15, body)
				}
			}
		}
	}
}

// requireInOrder asks that a result has more rows than that, in the order of their numbers, and releases it.
func requireInOrder(t *testing.T, out *Output, more int, body string) {
	t.Helper()
	defer out.Result.Release()
	got := numbers(out.Result)
	require.Greater(t, len(got), more)
	require.True(t, slices.IsSorted(got), body)
}

// TestHiddenOrKeepsTheOrder has conditions in which DuckDB's optimizer finds an OR, or a list of values, that the text does not
// show there.
func TestHiddenOrKeepsTheOrder(t *testing.T) {
	f := newFixtureOf(t, 2)
	f.app.Macros = []*planner.Macro{
		{Name: "either", Text: "CREATE OR REPLACE MACRO either(k, v, n := 3) AS k = 'k1' OR v % n = 1"},
		{Name: "listed", Text: "CREATE OR REPLACE MACRO listed(k, x := 'k3') AS k IN ('k1', x, 'k5', 'x', 'y', 'z')"}}
	const or = "(k = 'k1' OR v % 3 = 1)"
	for _, body := range []string{
		"SELECT v FROM other WHERE coalesce" + or,
		"SELECT v FROM other WHERE " + or + "::BOOLEAN",
		"SELECT v FROM other WHERE CASE WHEN TRUE THEN " + or + " ELSE FALSE END",
		"SELECT v, " + or + " AS ok FROM other WHERE ok",
		"SELECT v FROM (SELECT v, " + or + " AS ok FROM other) WHERE ok AND v <> 7",
		"SELECT v FROM (SELECT v, k IN ('k1', 'k3', 'k5') AS ok FROM other) WHERE ok",
		"SELECT v FROM other WHERE either(k, v)",
		"SELECT v FROM other WHERE listed(k)",
	} {
		p, err := f.plan(stream.Append, body)
		require.NoError(t, err)
		for _, rows := range []int{20_000, 2 * partRows} {
			out, err := f.open(p).Run(t.Context(), Call{Inputs: map[string]Input{"other": {Records: manyRows(t, rows)}}})
			require.NoError(t, err)
			requireInOrder(t, out, rows/4, body)
		}
	}
}

// TestSubqueriesKeepTheOrder gives DuckDB's threads so many rows that a join that a subquery became would mix them.
func TestSubqueriesKeepTheOrder(t *testing.T) {
	f := newFixtureOf(t, 4)
	rows := make([]row, 150_000)
	for i := range rows {
		rows[i] = row{k: string(rune('a' + i%5)), v: i, f: 1.0, ts: 20}
	}
	rec := record(rows)
	defer rec.Release()
	for _, body := range []string{
		"SELECT v, (SELECT max(name) FROM ref WHERE ref.k = src.k) AS m FROM src",
		"SELECT v FROM src WHERE EXISTS (FROM (SELECT chr(97 + i::INT) AS c FROM range(5) r(i)) WHERE c = src.k)",
		"SELECT v, (SELECT max(name) FROM ref WHERE ref.k = src.k) AS m FROM src QUALIFY row_number() OVER (PARTITION BY v ORDER BY f) = 1",
		"SELECT v, (SELECT max(name) FROM ref WHERE ref.k = q.k) AS m FROM (SELECT v, k FROM src QUALIFY row_number() OVER (PARTITION BY v ORDER BY f) = 1) q",
	} {
		p, err := f.plan(stream.Update, body)
		if err != nil {
			t.Fatal(diag.Render(err))
		}
		out, err := f.open(p).Run(t.Context(), Call{Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
		require.NoError(t, err)
		got := numbers(out.Result)
		out.Result.Release()
		require.Len(t, got, len(rows))
		require.True(t, slices.IsSorted(got), body)
	}
}
