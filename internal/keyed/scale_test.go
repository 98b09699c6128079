package keyed

import (
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestManyChunks fills and empties many chunks and tables with batches of which some roll back, beside a map.
func TestManyChunks(t *testing.T) {
	t.Parallel()
	schema := schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String)
	s := open(t, Options{Schema: schema, Keys: 1, Time: "c1"})
	rng := rand.New(rand.NewPCG(7, 8))
	model := map[int64]int64{}
	batch := func(n, spread int, time int64) arrow.Record {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer b.Release()
		for range n {
			b.Field(0).(*array.Int64Builder).Append(rng.Int64N(int64(spread)))
			b.Field(1).(*array.Int64Builder).Append(time + rng.Int64N(4))
			b.Field(2).(*array.StringBuilder).Append("value of some length"[:rng.IntN(20)])
		}
		return b.NewRecord()
	}
	for round := range int64(40) {
		size := 15_000
		if round/10%2 == 1 {
			size = 10 // the store drains
		}
		saved := maps.Clone(model)
		order := keyOrder(s)
		s.Begin()
		rec := batch(size, 60_000, round)
		require.NoError(t, s.Put(rec))
		for r, k := range rec.Column(0).(*array.Int64).Int64Values() {
			model[k] = rec.Column(1).(*array.Int64).Value(r)
		}
		gone := batch(size/4, 60_000, 0)
		_, err := s.Delete(gone)
		require.NoError(t, err)
		for _, k := range gone.Column(0).(*array.Int64).Int64Values() {
			delete(model, k)
		}
		s.Expire(round - 3)
		maps.DeleteFunc(model, func(_, time int64) bool { return time <= round-3 })
		if round%3 == 2 {
			s.Rollback()
			model = saved
			require.Equal(t, order, keyOrder(s))
		} else {
			s.Commit()
		}
		if round%8 == 5 {
			frozen(s.Freeze(false))
		}
		requireTimes(t, model, s)
		checkAccounts(t, s)
	}
	commit(s, func() { s.Expire(1 << 40) })
	frozen(s.Freeze(false))
	for range 100 {
		commit(s, func() {})
	}
	require.Empty(t, s.rows.chunks)
	require.Less(t, s.Bytes(), int64(8<<20))
}

func keyOrder(s *Store) []int64 {
	var keys []int64
	for rec := range s.All() {
		keys = append(keys, rec.Column(0).(*array.Int64).Int64Values()...)
	}
	return keys
}

func requireTimes(t *testing.T, want map[int64]int64, s *Store) {
	t.Helper()
	got := map[int64]int64{}
	for rec := range s.All() {
		for r, k := range rec.Column(0).(*array.Int64).Int64Values() {
			got[k] = rec.Column(1).(*array.Int64).Value(r)
		}
	}
	require.Equal(t, len(want), s.Len())
	require.True(t, maps.Equal(want, got))
}

// TestOrderDoesNotDependOnTheHash runs the same batches in two stores with different seeds.
func TestOrderDoesNotDependOnTheHash(t *testing.T) {
	t.Parallel()
	schema := schemaOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64)
	run := func() [][]string {
		s := open(t, Options{Schema: schema, Keys: 1, Time: "c1"})
		rng := rand.New(rand.NewPCG(1, 2))
		var out [][]string
		for b := range int64(50) {
			commit(s, func() {
				require.NoError(t, s.Put(randomRecord(schema, 50, rng.IntN)))
				out = append(out, texts(t, s.Expired(b)))
				_, err := s.Delete(randomRecord(schema, 5, rng.IntN))
				require.NoError(t, err)
			})
			out = append(out, texts(t, all(s)))
			if b%5 == 0 {
				changed, deleted, _ := frozen(s.Freeze(false))
				out = append(out, texts(t, changed), texts(t, deleted))
			}
		}
		return out
	}
	first, second := run(), run()
	require.Equal(t, first, second)
}
