package console

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

func TestTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cfg := sinktest.Config(stream.Append)
	cfg.Options = stream.Options{"max_rows": int64(3), "width": int64(40)}
	sink, err := Connector(&out).Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
	require.NoError(t, sinktest.Deliver(t.Context(), sink, sinktest.Marker(sinktest.QueryA, 1, 12), stream.Append,
		sinktest.Row{ID: 1, Name: "Ærø", N: -10}, sinktest.Row{ID: 20000, Name: nil, N: 5},
		sinktest.Row{ID: 3, Name: "日本 a very long name\x1b[31m\nin two lines"}, sinktest.Row{ID: 4}, sinktest.Row{ID: 5}))
	require.Equal(t, `out · batch 12 · append · 5 rows
┌───────┬────────────────────────┬─────┐
│    id │ name                   │   n │
├───────┼────────────────────────┼─────┤
│     1 │ Ærø                    │ -10 │
│ 20000 │ NULL                   │   5 │
│     3 │ 日本 a very long name… │   0 │
└───────┴────────────────────────┴─────┘
… 2 rows more; max_rows = 3
`, out.String())
	require.NoError(t, sink.Close())
}

func TestOps(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	sink, err := Connector(&out).Open(t.Context(), sinktest.Config(stream.Update))
	require.NoError(t, err)
	require.NoError(t, sinktest.Deliver(t.Context(), sink, sinktest.Marker(sinktest.QueryA, 1, 0), stream.Update,
		sinktest.Row{ID: 1, Name: "a", N: 1}, sinktest.Row{ID: 2, Op: stream.OpDelete}))
	require.NoError(t, sinktest.Deliver(t.Context(), sink, sinktest.Marker(sinktest.QueryA, 1, 1), stream.Complete))
	require.Equal(t, `out · batch 0 · update · 2 rows
┌────────┬────┬──────┬───┐
│ op     │ id │ name │ n │
├────────┼────┼──────┼───┤
│ upsert │  1 │ a    │ 1 │
│ delete │  2 │ NULL │ 0 │
└────────┴────┴──────┴───┘
out · batch 1 · complete · 0 rows
`, out.String())
}

// TestManyColumns sees that a table never gets wider than it may, and says what it leaves out.
func TestManyColumns(t *testing.T) {
	t.Parallel()
	fields := make([]arrow.Field, 30)
	for i := range fields {
		fields[i] = arrow.Field{Name: strings.Repeat("c", i+1), Type: arrow.BinaryTypes.String}
	}
	schema := arrow.NewSchema(fields, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	for i := range fields {
		rb.Field(i).(*array.StringBuilder).Append(strings.Repeat("x", 3*i))
	}
	rec := rb.NewRecord()
	defer rec.Release()
	for _, width := range []int{20, 80, 120, 1000} {
		var b strings.Builder
		tableOf(stream.Batch{Schema: schema, Records: []arrow.Record{rec}}, 10).render(&b, width)
		for line := range strings.Lines(b.String()) {
			if !strings.HasPrefix(line, "…") {
				require.LessOrEqual(t, columnsOf(strings.TrimSuffix(line, "\n")), width)
			}
		}
		require.Equal(t, width < 1000, strings.Contains(b.String(), "columns more"), "width %d", width)
	}
}
