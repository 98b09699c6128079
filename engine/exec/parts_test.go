package exec

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/stream"
)

// manyRows are records of uneven length with so many rows together.
func manyRows(t *testing.T, lengths ...int) []arrow.Record {
	t.Helper()
	var recs []arrow.Record
	n := 0
	for _, length := range lengths {
		rows := make([]row, length)
		for i := range rows {
			rows[i] = row{k: fmt.Sprint("k", n%7), v: n, f: 1.0, ts: 20}
			n++
		}
		rec := record(rows)
		t.Cleanup(rec.Release)
		recs = append(recs, rec)
	}
	return recs
}

// TestPartsComeInOrder computes batches in one part and in several, and asks for the same rows in the same order, counts,
// and statements where there are enough rows for them.
func TestPartsComeInOrder(t *testing.T) {
	t.Parallel()
	const body = "SELECT v, upper(k) AS k, v % 3 AS m FROM src WHERE v % 5 <> 0"
	for _, c := range []struct {
		lengths    []int
		statements int64
	}{
		{[]int{2 * partRows}, 2},
		{[]int{2*partRows - 1}, 1},
		{[]int{10, 3 * partRows, 0, 1, 50}, 3},
		{[]int{partRows, partRows, partRows, partRows, partRows, 17}, 4},
		{[]int{100, 100}, 1},
	} {
		t.Run(fmt.Sprint(c.lengths), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			f := newFixtureOf(t, 1)
			p, err := f.plan(stream.Append, body)
			require.NoError(t, err)
			whole := f.open(p)
			f.db = ducktest.Open(t, duck.Options{Sealed: true, Threads: 4, Trace: func(sql string) {
				if strings.Contains(sql, "upper(") {
					asked.Add(1)
				}
			}})
			s := f.open(p)
			recs := slices.DeleteFunc(manyRows(t, c.lengths...), func(rec arrow.Record) bool { return rec.NumRows() == 0 })
			call := Call{Inputs: map[string]Input{"src": {Records: recs}}, Excluded: map[string]map[int64]string{}}
			for range 2 { // the second time by plans that were kept
				asked.Store(0)
				want, err := whole.Run(t.Context(), call)
				require.NoError(t, err)
				got, err := s.Run(t.Context(), call)
				require.NoError(t, err)
				require.Equal(t, c.statements, asked.Load())
				require.Equal(t, want.Sources, got.Sources)
				require.Equal(t, texts(want.Result), texts(got.Result))
				want.Result.Release()
				got.Result.Release()
			}
		})
	}
}

// TestPartsFailTogether lets a row of the last part fail: nothing comes out, the row is found, and the next batch is like
// any other.
func TestPartsFailTogether(t *testing.T) {
	t.Parallel()
	f := newFixtureOf(t, 3)
	p, err := f.plan(stream.Append, "SELECT v, (CASE WHEN v = 98000 THEN 300 ELSE 1 END)::TINYINT AS small FROM src")
	require.NoError(t, err)
	s := f.open(p)
	call := Call{Inputs: map[string]Input{"src": {Records: manyRows(t, 3*partRows)}}}
	_, err = s.Run(t.Context(), call)
	var fault *duck.Error
	require.ErrorAs(t, err, &fault)
	require.True(t, fault.RowFault(), err)
	require.Error(t, s.Try(t.Context(), call, map[string][]int64{"src": {5, 98000}}))
	require.NoError(t, s.Try(t.Context(), call, map[string][]int64{"src": {5, 97999}}))
	call.Excluded = map[string]map[int64]string{"src": {98000: "too large"}}
	out, err := s.Run(t.Context(), call)
	require.NoError(t, err)
	require.EqualValues(t, 3*partRows-1, out.Result.NumRows())
	out.Result.Release()
}
