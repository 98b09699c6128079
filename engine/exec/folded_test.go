package exec

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

const digits38 = "99999999999999999999999999999999999999"

// TestASumBeyondItsTypeIsAFaultOfTheRow comes to the end of what is kept, which leaves the state as it was.
func TestASumBeyondItsTypeIsAFaultOfTheRow(t *testing.T) {
	t.Parallel()
	for typ, end := range map[string]struct {
		more string
		kind duck.Kind
	}{"HUGEINT": {"1", duck.Conversion}, "DECIMAL(38,0)": {digits38, duck.OutOfRange}} {
		f := newFixture(t)
		p, err := f.plan(stream.Update, "SELECT v, count(*) AS n, sum(CAST(k AS "+typ+")) AS s FROM src GROUP BY v")
		require.NoError(t, err)
		require.Equal(t, planner.Fold, p.Ops[0].Steps[0].Effect)
		s := f.open(p)
		run := func(batch int64, k string) (*Output, error) {
			rec := record([]row{{k, 1, nil, 1}, {"3", 2, nil, 1}})
			defer rec.Release()
			return s.Run(t.Context(), Call{Batch: batch, Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
		}
		out, err := run(1, digits38)
		require.NoError(t, err)
		require.Equal(t, []string{"1|1|" + digits38, "2|1|3"}, texts(out.Result))
		out.Result.Release()
		for range 2 {
			_, err = run(2, end.more)
			var fault *duck.Error
			require.ErrorAs(t, err, &fault)
			require.Equal(t, end.kind, fault.Kind, fault.Message)
			require.True(t, fault.RowFault())
		}
		out, err = run(3, "-9")
		require.NoError(t, err)
		require.Equal(t, []string{"1|2|99999999999999999999999999999999999990", "2|2|6"}, texts(out.Result))
		require.Equal(t, StateCounts{Rows: 2, Updated: 2}, out.State)
		out.Result.Release()
	}
}

// TestBatchesWithLateRowsTakeTheOtherSteps alternates batches in which rows are late with others.
func TestBatchesWithLateRowsTakeTheOtherSteps(t *testing.T) {
	t.Parallel()
	for _, from := range []string{tumble5, hop10} {
		f := newFixture(t)
		p, err := f.plan(stream.Update, "SELECT window_start, k, count(*) AS n, sum(v) AS s FROM "+from+" WHERE v > 0 GROUP BY ALL")
		require.NoError(t, err)
		require.Equal(t, []planner.When{planner.Punctual, planner.Delayed},
			[]planner.When{p.Ops[0].Steps[0].When, p.Ops[0].Steps[1].When})
		s := f.open(p)
		late := int64(100_000_000)
		for i := range 8 {
			rows := []row{{"a", 1, nil, 101 + i}, {"b", 2, nil, 103}, {"b", 0, nil, 104}, {"c", 3, nil, nil}}
			if i%2 == 1 {
				rows = append(rows, row{"d", 4, nil, 80}, row{"e", 5, nil, 99})
			}
			rec := record(rows)
			out, err := s.Run(t.Context(), Call{Batch: int64(i), Watermark: &late, Late: &late,
				Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
			require.NoError(t, err)
			rec.Release()
			n := out.Sources["src"]
			used, dropped := int64(2), int64(0)
			if i%2 == 1 {
				used, dropped = 2, 2
				if from == hop10 {
					used, dropped = 3, 1 // one of its windows ends after the watermark
				}
			}
			require.Equal(t, []int64{used, dropped, 1, 1}, []int64{n.Used, n.Late, n.Filtered, n.NullTime}, "batch %d", i)
			require.Len(t, out.Late["src"], int(dropped))
			out.Result.Release()
		}
	}
}

// TestRowsWithoutTheTimeOfAGroupAreInNone asks it of batches in which no row is late, and of others.
func TestRowsWithoutTheTimeOfAGroupAreInNone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		"SELECT ts, count(*) AS n FROM src GROUP BY ts":                                                                           {"101|1"},
		"SELECT window_end, count(*) AS n FROM tumble(src, ts, INTERVAL '500 milliseconds') GROUP BY window_end":                  {"101|1"},
		"SELECT window_end, count(*) AS n FROM tumble(src, ts, INTERVAL '5 seconds', CAST(NULL AS INTERVAL)) GROUP BY window_end": nil,
	} {
		f := newFixture(t)
		p, err := f.plan(stream.Update, body)
		require.NoError(t, err)
		require.Equal(t, planner.Punctual, p.Ops[0].Steps[0].When)
		for _, rows := range [][]row{{{"a", 1, nil, 101}, {"b", 1, nil, nil}}, {{"a", 1, nil, 101}, {"b", 1, nil, nil}, {"c", 1, nil, 80}}} {
			s := f.open(p)
			late := int64(100_000_000)
			rec := record(rows)
			out, err := s.Run(t.Context(), Call{Batch: 1, Watermark: &late, Late: &late,
				Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
			require.NoError(t, err, body)
			rec.Release()
			require.Equal(t, want, texts(out.Result), body)
			require.Equal(t, []int64{int64(len(want)), 1}, []int64{out.Sources["src"].Used, out.Sources["src"].NullTime}, body)
			out.Result.Release()
		}
	}
}
