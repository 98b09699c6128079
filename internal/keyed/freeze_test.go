package keyed

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"
)

// TestFrozenBesideBatches reads a frozen store on another goroutine while batches put, delete and roll back, and asks for
// the rows of the moment when it was frozen.
func TestFrozenBesideBatches(t *testing.T) {
	t.Parallel()
	schema := schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String)
	s := open(t, Options{Schema: schema, Keys: 1, Time: "c1"})
	replica := open(t, Options{Schema: schema, Keys: 1, Time: "c1"})
	rng := rand.New(rand.NewPCG(1, 9))
	work := func(rows int) {
		s.Begin()
		recs := make([][]any, rows)
		for i := range recs {
			recs[i] = []any{rng.IntN(40_000), rng.IntN(100), "some text"[:rng.IntN(9)]}
		}
		rec := record(t, schema, recs...)
		require.NoError(t, s.Put(rec))
		_, err := s.Delete(rec.NewSlice(0, int64(rows/3)))
		require.NoError(t, err)
		s.Expire(int64(rng.IntN(3)))
		if rng.IntN(4) == 0 {
			s.Rollback()
			return
		}
		s.Commit()
	}
	work(30_000)
	for round := range 6 {
		want := slices.Sorted(slices.Values(texts(t, all(s))))
		f := s.Freeze(round%3 == 0)
		done := make(chan [2][]arrow.Record)
		go func() {
			changed, deleted, _ := frozen(f)
			done <- [2][]arrow.Record{changed, deleted}
		}()
		for range 20 {
			work(500)
		}
		got := <-done
		require.NoError(t, replica.Restore(f.Base(), got[0], got[1]))
		require.Equal(t, want, slices.Sorted(slices.Values(texts(t, all(replica)))))
		checkAccounts(t, s)
	}
	require.Less(t, len(s.buried), 40_000)
}

// TestFrozenLetsGo closes a frozen store that nobody has read: the keys of deleted rows go.
func TestFrozenLetsGo(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64), Keys: 1})
	commit(s, func() { put(t, s, []any{1, 1}, []any{2, 2}) })
	s.Freeze(true).Close()
	commit(s, func() {
		n, err := s.Delete(record(t, s.Schema(), []any{1, 0}))
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
	f := s.Freeze(false)
	require.False(t, f.Empty())
	f.Close()
	f.Close()
	commit(s, func() {})
	rows := 0
	s.rows.each(func(uint32, byte) bool { rows++; return true })
	require.Equal(t, 1, rows)
}

// TestFrozenRestsAreBounded asks that the reader of many rows rests no longer for all of them than is worth a recovery's time,
// however long it took over them.
func TestFrozenRestsAreBounded(t *testing.T) {
	t.Parallel()
	for rows, rest := range map[int]time.Duration{1: frozenRestMax, 1_000_000: frozenRestMax, 10_000_000: 4095 * time.Microsecond} {
		resting(t, rows, func(s *Store, f *Frozen) {
			const times = 4
			began := time.Now()
			for range times {
				f.worked = time.Now().Add(-time.Hour)
				f.turn()
				s.turns.end()
			}
			require.InDelta(t, times*rest, time.Since(began), float64(10*time.Microsecond), rows)
			require.LessOrEqual(t, f.rest*time.Duration(rows/frozenRows), frozenRestAll)
		})
	}
}

// TestFrozenWaitsAreRests asks that the reader does not rest for what it has waited longer than it wanted, up to one long rest.
func TestFrozenWaitsAreRests(t *testing.T) {
	t.Parallel()
	resting(t, 1, func(_ *Store, f *Frozen) {
		for i, rest := range []time.Duration{frozenRestMax, 0, frozenRestMax} {
			f.worked = time.Now().Add(-time.Hour)
			require.Equal(t, rest, f.rests(), i)
			late := time.Second
			if i > 0 {
				late = 0
			}
			f.rested(rest + late)
		}
	})
}

// resting runs a test under a clock that stands still while somebody works, with a batch open beside what was frozen of a store
// that seems to have so many rows.
func resting(t *testing.T, rows int, test func(*Store, *Frozen)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64), Keys: 1})
		s.live = rows // none of which Freeze looks at
		f := s.Freeze(true)
		s.live = 0
		s.open.Store(true)
		test(s, f)
		s.open.Store(false)
		f.Close()
	})
}
