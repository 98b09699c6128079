package keyed

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestAdmit asks that each bit of a key is new once, also after a batch that is taken back.
func TestAdmit(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "g", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "v", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "m", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	s, err := New(Options{Schema: schema, Keys: 2})
	require.NoError(t, err)
	type key struct {
		g string
		v int64
	}
	model, rnd := map[key]int64{}, rand.New(rand.NewPCG(1, 2))
	for batch := range 40 {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		kept := batch%3 != 1
		before := map[key]int64{}
		for k, m := range model {
			before[k] = m
		}
		var want []int64
		for range rnd.IntN(300) {
			k, m := key{string(rune('a' + rnd.IntN(3))), int64(rnd.IntN(90))}, int64(1+rnd.IntN(7))
			b.Field(0).(*array.StringBuilder).Append(k.g)
			b.Field(1).(*array.Int64Builder).Append(k.v)
			b.Field(2).(*array.Int64Builder).Append(m)
			want = append(want, m&^model[k])
			model[k] |= m
		}
		rec := b.NewRecord()
		b.Release()
		s.Begin()
		fresh, some, err := s.Admit(rec)
		require.NoError(t, err)
		got := fresh.Column(2).(*array.Int64).Int64Values()
		require.Equal(t, want, append([]int64(nil), got...), "batch %d", batch)
		require.Equal(t, sumOf(want) > 0, some)
		require.True(t, array.Equal(rec.Column(0), fresh.Column(0)))
		fresh.Release()
		rec.Release()
		if kept {
			s.Commit()
		} else {
			s.Rollback()
			model = before
		}
		require.Equal(t, len(model), s.Len())
	}
	s.Begin()
	other, err := New(Options{Schema: schema, Keys: 1})
	require.NoError(t, err)
	other.Begin()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	rec := b.NewRecord()
	defer rec.Release()
	_, _, err = other.Admit(rec)
	require.ErrorContains(t, err, "no bits")
}

func sumOf(list []int64) int64 {
	n := int64(0)
	for _, v := range list {
		n += v
	}
	return n
}

// TestAdmitBesideFrozen reads a frozen store while batches add bits to its rows, and asks for the bits of the moment when
// it was frozen.
func TestAdmitBesideFrozen(t *testing.T) {
	t.Parallel()
	schema := schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64)
	s, replica := open(t, Options{Schema: schema, Keys: 1}), open(t, Options{Schema: schema, Keys: 1})
	rng := rand.New(rand.NewPCG(3, 4))
	work := func(rows int) {
		recs := make([][]any, rows)
		for i := range recs {
			recs[i] = []any{rng.IntN(30_000), 1 << rng.IntN(20)}
		}
		s.Begin()
		fresh, _, err := s.Admit(record(t, schema, recs...))
		require.NoError(t, err)
		fresh.Release()
		s.Commit()
	}
	work(30_000)
	for round := range 6 {
		want := slices.Sorted(slices.Values(texts(t, all(s))))
		f := s.Freeze(round%2 == 0)
		done := make(chan [2][]arrow.Record)
		go func() {
			changed, deleted, _ := frozen(f)
			done <- [2][]arrow.Record{changed, deleted}
		}()
		for range 20 {
			work(1000)
		}
		got := <-done
		require.NoError(t, replica.Restore(f.Base(), got[0], got[1]))
		require.Equal(t, want, slices.Sorted(slices.Values(texts(t, all(replica)))))
	}
}
