package exec

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// costlyBody draws a query that asks for costly calls on both sides of what may keep a row from needing them.
type costlyBody struct{ *rand.Rand }

func (r costlyBody) one(of ...string) string { return of[r.IntN(len(of))] }

func (r costlyBody) text() string {
	return r.one("k", "lower(k)", "lower(k)", "upper(k)", "regexp_extract(k, '([a-c])', 1)", "regexp_replace(k, 'a', '')",
		"nullif(regexp_extract(k, '([a-c])', 1), '')")
}

func (r costlyBody) literal() string { return r.one("'a'", "'b'", "'c'", "'A'", "''", "'bb'") }

func (r costlyBody) condition(depth int) string {
	kind := r.IntN(9)
	if depth == 0 {
		kind = r.IntN(6)
	}
	switch kind {
	case 0, 1:
		return r.text() + r.one(" = ", " = ", " <> ") + r.literal()
	case 2:
		return r.text() + r.one(" IN (", " IN (", " NOT IN (") + r.literal() + ", " + r.literal() + ", " + r.literal() + ")"
	case 3:
		return r.text() + r.one(" IS NULL", " IS NOT NULL")
	case 4:
		return "regexp_matches(k, '[bc]')"
	case 5:
		return fmt.Sprint("v % 10 > ", r.IntN(10))
	case 6:
		return "NOT (" + r.condition(depth-1) + ")"
	}
	return "(" + r.condition(depth-1) + ")" + r.one(" OR ", " OR ", " AND ") + "(" + r.condition(depth-1) + ")"
}

func (r costlyBody) value(depth int) string {
	if depth == 0 || r.IntN(5) == 0 {
		return r.text()
	}
	var b strings.Builder
	if r.IntN(2) == 0 {
		fmt.Fprintf(&b, "CASE %s", r.text())
		for range 1 + r.IntN(3) {
			fmt.Fprintf(&b, " WHEN %s THEN %s", r.literal(), r.one(r.literal(), r.value(depth-1)))
		}
	} else {
		b.WriteString("CASE")
		for range 1 + r.IntN(3) {
			fmt.Fprintf(&b, " WHEN %s THEN %s", r.condition(1), r.one(r.literal(), r.value(depth-1)))
		}
	}
	fmt.Fprintf(&b, " ELSE %s END", r.value(depth-1))
	return b.String()
}

// body has the shape for which guards are found more often than chance would have it.
func (r costlyBody) body() string {
	where, x := r.condition(2), r.value(2)
	if r.IntN(2) == 0 {
		where = "nullif(regexp_extract(k, '([a-c])', 1), '') IS NOT NULL OR lower(k) IN ('b', 'c', 'a') OR " + where
		x = "CASE lower(k) WHEN 'a' THEN '0' WHEN 'b' THEN " + r.one("'1'", "regexp_replace(k, 'a', '')", "regexp_extract(k, '([a-c])', 1)") +
			" ELSE regexp_extract(k, '([a-c])', 1) || " + r.one("'x'", "regexp_replace(k, 'a', '')") + " END"
	}
	return "SELECT v, " + x + " AS x, " + r.one("k", r.value(1)) + " AS y FROM other WHERE " + where
}

// rows are enough of them to be several vectors, and of more than one part now and then.
func (r costlyBody) rows() []row {
	n := r.IntN(5000)
	if r.IntN(50) == 0 {
		n = 2*partRows + r.IntN(5000)
	}
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{k: r.one("a", "b", "c", "d", "A", "B", "", "bb", "xa", "zzzzzzzzzzzzzzzzzzzzzzzzzzzc"), v: i, f: 1.0, ts: 20}
		if r.IntN(8) == 0 {
			rows[i].k = nil
		}
	}
	return rows
}

// TestGuardsChangeNothing computes queries with calls that may be left out for some rows, and asks for the rows that stock
// DuckDB gives, in the order in which they came.
func TestGuardsChangeNothing(t *testing.T) {
	t.Parallel()
	f, whole := newFixtureOf(t, 2), newFixtureOf(t, 1)
	guarded, inPlace := 0, 0
	const bodies = 100
	for seed := range uint64(bodies) {
		r := costlyBody{rand.New(rand.NewPCG(seed, 21))}
		body, rows := r.body(), r.rows()
		p, err := f.plan(stream.Append, body)
		if err != nil {
			t.Fatal(body, diag.Render(err))
		}
		switch len(p.Lent[0].Steps) {
		case 2:
			guarded++
			fallthrough
		case 1:
			inPlace++
		}
		s, rec := f.open(p), record(rows)
		out, err := s.Run(t.Context(), Call{Inputs: map[string]Input{"other": {Records: []arrow.Record{rec}}}})
		require.NoError(t, err, body)
		require.Equal(t, sorted(whole.plainSQL(p, body, map[string][]row{"other": rows})), sorted(texts(out.Result)), body)
		require.True(t, slices.IsSorted(numbers(out.Result)), body)
		out.Result.Release()
		rec.Release()
		require.NoError(t, s.Close())
	}
	require.Greater(t, guarded, bodies/6)
	require.Greater(t, inPlace, bodies/2)
}
