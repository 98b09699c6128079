package keyed

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

func countSchema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "customer", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "until", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
		{Name: "count", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
}

func counts(t testing.TB) *Store {
	return open(t, Options{Schema: countSchema(), Keys: 2, Time: "until"})
}

func put(t testing.TB, s *Store, rows ...[]any) {
	t.Helper()
	require.NoError(t, s.Put(record(t, s.Schema(), rows...)))
}

func TestStoreSaysWhatItCanNotKeep(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]Options{
		"not as many columns": {Schema: countSchema(), Keys: 4},
		"0 columns are named": {Schema: countSchema(), Keys: 1, Time: "when"},
		"rows expire by":      {Schema: countSchema(), Keys: 1, Time: "customer"},
		"float16":             {Schema: schemaOf(arrow.ListOf(arrow.FixedWidthTypes.Float16)), Keys: 1},
		"the schema":          {Keys: 1},
	} {
		_, err := New(o)
		require.ErrorContains(t, err, want)
	}
	s := counts(t)
	s.Begin()
	err := s.Put(record(t, schemaOf(arrow.BinaryTypes.String)))
	require.ErrorContains(t, err, "have 3 columns, the record has 1")
	_, err = s.Lookup(record(t, schemaOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64)))
	require.ErrorContains(t, err, `column "until" of keyed rows is timestamp`)
	_, err = s.Delete(record(t, schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64)))
	require.ErrorContains(t, err, `column "customer" of keyed rows is utf8, the record has int64`)
}

func TestChangesAreOfABatch(t *testing.T) {
	t.Parallel()
	s := counts(t)
	require.Panics(t, func() { put(t, s, []any{"a", 1, 1}) })
	require.Panics(t, func() { s.Expire(1) })
	require.Panics(t, s.Commit)
	require.Panics(t, s.Rollback)
	s.Begin()
	require.Panics(t, s.Begin)
	require.Panics(t, s.Forget)
	require.Panics(t, func() { s.Freeze(true) })
	s.Rollback()
	s.Freeze(true)
	require.Panics(t, func() { s.Freeze(true) }, "the one before has not been closed")
}

func TestRowsExpireByTimeThenKey(t *testing.T) {
	t.Parallel()
	s := counts(t)
	commit(s, func() {
		put(t, s, []any{"b", 20, 1}, []any{"c", 10, 2}, []any{nil, 10, 3}, []any{"a", 10, 4}, []any{"a", 20, 5},
			[]any{"z", 30, 6}, []any{"never", nil, 7})
	})
	want := []string{`"a"|10|4`, `"c"|10|2`, `NULL|10|3`, `"a"|20|5`, `"b"|20|1`}
	require.Equal(t, want, texts(t, s.Expired(20)))
	require.Empty(t, s.Expired(9))
	s.Begin()
	require.Equal(t, want, texts(t, s.Expire(20)))
	require.Empty(t, s.Expired(20))
	require.Equal(t, 2, s.Len())
	s.Rollback()
	require.Equal(t, want, texts(t, s.Expired(20)))
	commit(s, func() { s.Expire(math.MaxInt64) })
	require.Equal(t, []string{`"never"|NULL|7`}, texts(t, all(s)))
	require.Empty(t, s.times.heap)
}

// TestOrderOfNumbers shows that expired rows come in the order of values, not of bytes.
func TestOrderOfNumbers(t *testing.T) {
	t.Parallel()
	schema := schemaOf(arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64)
	s := open(t, Options{Schema: schema, Keys: 2, Time: "c2"})
	commit(s, func() {
		put(t, s, []any{1.5, 256, 0}, []any{math.NaN(), 1, 0}, []any{-2.0, 1, 0}, []any{1.5, 1, 0},
			[]any{1.5, -1, 0}, []any{math.Copysign(0, -1), 1, 0}, []any{math.Inf(1), 1, 0})
	})
	rec := s.Expired(0)[0]
	var got []string
	for r := range int(rec.NumRows()) {
		got = append(got, rec.Column(0).ValueStr(r)+" "+rec.Column(1).ValueStr(r))
	}
	require.Equal(t, []string{"-2 1", "-0 1", "1.5 -1", "1.5 1", "1.5 256", "+Inf 1", "NaN 1"}, got)
}

func TestKeyIsShownAsItWasPutLast(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Int64), Keys: 1})
	commit(s, func() { put(t, s, []any{0.0, 1}) })
	commit(s, func() { put(t, s, []any{math.Copysign(0, -1), 2}) })
	require.Equal(t, []string{"8000000000000000|2"}, texts(t, all(s)))
	got, err := s.Lookup(record(t, schemaOf(arrow.PrimitiveTypes.Float64), []any{0.0}))
	require.NoError(t, err)
	require.Equal(t, []string{"8000000000000000|2"}, texts(t, got))
}

func TestStoreWithoutKeysHasOneRow(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64)})
	commit(s, func() { put(t, s, []any{1}, []any{2}) })
	got, err := s.Lookup(record(t, s.Schema(), []any{9}))
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, texts(t, got))
}

func TestRowsThatComeAndGoLeaveNoChange(t *testing.T) {
	t.Parallel()
	s := counts(t)
	_, _, delta := frozen(s.Freeze(false))
	require.False(t, delta)
	commit(s, func() { put(t, s, []any{"old", 9, 1}, []any{"same", 9, 1}) })
	_, _, delta = frozen(s.Freeze(true))
	require.False(t, delta)
	commit(s, func() { put(t, s, []any{"new", 1, 1}, []any{"old", 9, 2}, []any{"same", 9, 1}) })
	commit(s, func() { s.Expire(1) })
	changed, deleted, delta := frozen(s.Freeze(false))
	require.True(t, delta)
	require.Equal(t, []string{`"old"|9|2`}, texts(t, changed))
	require.Empty(t, deleted)
	commit(s, func() { put(t, s, []any{"more", 9, 1}) })
	commit(s, func() { s.Expire(9) })
	changed, deleted, delta = frozen(s.Freeze(false))
	require.True(t, delta)
	require.Empty(t, changed)
	require.Equal(t, []string{`"old"|9`, `"same"|9`}, texts(t, deleted))
	commit(s, func() {})
	require.Empty(t, s.rows.chunks)
	require.True(t, s.Freeze(false).Empty())
}

func TestTooManyChangesAreForgotten(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64), Keys: 1})
	fill := func(from, n int) {
		commit(s, func() {
			rows := make([][]any, n)
			for i := range rows {
				rows[i] = []any{from + i, 1}
			}
			put(t, s, rows...)
		})
	}
	fill(0, changesMin+10)
	s.Freeze(true).Close()
	commit(s, func() {
		n, err := s.Delete(all(s)[0])
		require.NoError(t, err)
		require.Equal(t, recordRows, n)
	})
	require.Equal(t, recordRows, s.changes)
	fill(-100, 50)
	require.True(t, s.tracked, "not more than all rows twice, and some")
	commit(s, func() {
		_, err := s.Delete(all(s)[0])
		require.NoError(t, err)
	})
	require.False(t, s.tracked)
	require.Zero(t, s.Len())
	require.Less(t, s.Bytes(), int64(20<<20))
}

func TestLongTexts(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Schema: schemaOf(arrow.BinaryTypes.String, arrow.BinaryTypes.String), Keys: 1})
	var want []string
	commit(s, func() {
		for _, n := range []int{0, 127, 128, bigBlob - 20, bigBlob, pageBytes, 3 * pageBytes} {
			k, v := strings.Repeat("k", n), strings.Repeat("v", n)
			put(t, s, []any{k, v})
			want = append(want, fmt.Sprintf("%q|%q", k, v))
		}
	})
	require.Equal(t, want, texts(t, all(s)))
	for range 5 {
		commit(s, func() { require.NoError(t, s.Put(all(s)[0])) })
		commit(s, func() { put(t, s, []any{strings.Repeat("k", pageBytes), "short"}) })
		commit(s, func() { put(t, s, []any{strings.Repeat("k", pageBytes), strings.Repeat("v", pageBytes)}) })
	}
	require.Equal(t, want, texts(t, all(s)))
	require.Less(t, s.Bytes(), int64(40*pageBytes))
	checkAccounts(t, s)
}

func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64), Keys: 1})
	rows := make([][]any, 2*recordRows+5)
	for i := range rows {
		rows[i] = []any{i, -i}
	}
	rec := record(t, s.Schema(), rows...)
	commit(s, func() { require.NoError(t, s.Put(rec)) })
	got, err := s.Lookup(rec)
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, texts(t, got), texts(t, all(s)))
	for range s.All() {
		break
	}
}

// TestBytesStayBounded puts and expires for 10,000 batches: what the store holds follows what is in it.
func TestBytesStayBounded(t *testing.T) {
	t.Parallel()
	for _, every := range []int{0, 7} { // batches to a state version
		s := open(t, Options{Schema: arrow.NewSchema([]arrow.Field{
			{Name: "k", Type: arrow.BinaryTypes.String}, {Name: "until", Type: arrow.PrimitiveTypes.Int64},
			{Name: "v", Type: arrow.BinaryTypes.String}}, nil), Keys: 1, Time: "until"})
		rng := rand.New(rand.NewPCG(3, 4))
		early, late := int64(0), int64(0)
		for b := range 10_000 {
			commit(s, func() {
				rows := make([][]any, 10)
				for i := range rows {
					v := strings.Repeat("v", rng.IntN(100))
					rows[i] = []any{fmt.Sprint("key ", b/10*10+rng.IntN(200)), b*10 + rng.IntN(500), v}
				}
				put(t, s, rows...)
				s.Expire(int64(b*10 - 1))
			})
			if every > 0 && b%every == 0 {
				frozen(s.Freeze(false))
			}
			switch {
			case b > 500 && b < 3000:
				early = max(early, s.Bytes())
			case b > 7000:
				late = max(late, s.Bytes())
			}
		}
		require.Less(t, float64(late), 1.1*float64(early))
		require.Less(t, s.Bytes(), int64(2<<20))
		checkAccounts(t, s)
		commit(s, func() { s.Expire(math.MaxInt64) })
		frozen(s.Freeze(true))
		commit(s, func() {})
		require.Zero(t, s.Len())
		require.Less(t, s.Bytes(), int64(200<<10))
	}
}

// TestBytesBehindNULLDoNotCount puts two NULLs that Arrow has different bytes for.
func TestBytesBehindNULLDoNotCount(t *testing.T) {
	t.Parallel()
	values := memory.NewBufferBytes(arrow.Int64Traits.CastToBytes([]int64{7, 8}))
	buffers := []*memory.Buffer{memory.NewBufferBytes([]byte{0}), values}
	d := array.NewData(arrow.PrimitiveTypes.Int64, 2, buffers, nil, 2, 0)
	a := array.MakeFromData(d)
	s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64), Keys: 1})
	commit(s, func() { require.NoError(t, s.Put(array.NewRecord(s.Schema(), []arrow.Array{a, a}, 2))) })
	require.Equal(t, []string{"NULL|NULL"}, texts(t, all(s)))
}

// TestBuffersFollowBatches asks that the buffers of a large batch stay for the next one, and go when many small ones have come.
func TestBuffersFollowBatches(t *testing.T) {
	t.Parallel()
	const rows = 100_000
	s := open(t, Options{Schema: schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64), Keys: 1})
	c := calls{schema: s.Schema(), rng: rand.New(rand.NewPCG(1, 1))}
	put := func(n int) { require.NoError(t, s.Put(c.rows(n, func(i int) int64 { return int64(i) }))) }
	commit(s, func() { put(rows) })
	for n := range smallTimes {
		require.Greater(t, s.Bytes(), int64(70*rows), "with the buffers of the large batch")
		s.Begin()
		put(100)
		if n%2 == 0 {
			s.Commit()
		} else {
			s.Rollback()
		}
	}
	require.Less(t, s.Bytes(), int64(50*rows))
}
