package nexmark_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/stream"
)

func TestOutcome(t *testing.T) {
	t.Parallel()
	add := func(o *nexmark.Outcome, deleted bool, row ...any) {
		t.Helper()
		require.NoError(t, o.Add(row, deleted))
	}
	appended := nexmark.NewOutcome(stream.Append, nil)
	add(appended, false, int64(1), "a")
	add(appended, false, int64(1), "a")
	require.Equal(t, [][]any{{int64(1), "a"}, {int64(1), "a"}}, appended.Rows())
	require.ErrorContains(t, appended.Add([]any{int64(1), "a"}, true), "deleted in append mode")

	updated := nexmark.NewOutcome(stream.Update, []int{1, 0})
	add(updated, false, int64(1), "a", "old")
	add(updated, false, int64(1), "b", "other")
	add(updated, false, int64(1), "a", "new")
	add(updated, false, nil, "a", "no number")
	add(updated, false, "1", "a", "text")
	add(updated, true, int64(1), "b", nil)
	add(updated, true, int64(2), "b", nil)
	require.Empty(t, nexmark.Diff(updated.Rows(),
		[][]any{{int64(1), "a", "new"}, {nil, "a", "no number"}, {"1", "a", "text"}}))
}

func TestDiff(t *testing.T) {
	t.Parallel()
	rows := func(list ...[]any) [][]any { return list }
	row := func(cells ...any) []any { return cells }
	same := func(a, b [][]any) {
		t.Helper()
		require.Empty(t, nexmark.Diff(a, b))
		require.Empty(t, nexmark.Diff(b, a))
	}
	same(nil, rows())
	same(rows(row("a", nil), row("b", 1.5)), rows(row("b", 1.5*(1+1e-12)), row("a", nil)))
	same(rows(row(json.Number("1.50"), true)), rows(row(json.Number("1.50"), true)))
	same(rows(row(0.0), row(-1.0)), rows(row(-1.0), row(0.0)))
	for _, c := range []struct {
		got, want [][]any
		says      string
	}{
		{rows(row("a")), rows(row("a"), row("a")),
			"1 rows instead of 2: 1 are missing (-), 0 are too many (+)\n- \"a\""},
		{rows(row("a"), row("b")), rows(row("b")), "0 are missing (-), 1 are too many (+)\n+ \"a\""},
		{rows(row(int64(1), 2.0)), rows(row(int64(1), 2.00001)),
			"+ 1, float64 with [2]\n- 1, float64 with [2.00001]"},
		{rows(row("a", "b, c")), rows(row("a, b", "c")), "1 are missing (-), 1 are too many (+)"},
		{rows(row(nil)), rows(row("<nil>")), "1 are missing (-), 1 are too many (+)"},
		{rows(row(1.0)), rows(row(nil)), "1 are missing (-), 1 are too many (+)"},
	} {
		require.Contains(t, nexmark.Diff(c.got, c.want), c.says)
	}
	many := make([][]any, 25)
	for i := range many {
		many[i] = row(int64(i))
	}
	require.Contains(t, nexmark.Diff(nil, many), "0 rows instead of 25: 25 are missing")
}
