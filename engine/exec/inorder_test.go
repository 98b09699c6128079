package exec

import (
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

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
		var got []int32
		for _, rec := range out.Result.Records {
			got = append(got, rec.Column(0).(*array.Int32).Int32Values()...)
		}
		out.Result.Release()
		require.Len(t, got, len(rows))
		require.True(t, slices.IsSorted(got), body)
	}
}
