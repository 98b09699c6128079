package decode

import (
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestArrowBatchesOfAnySize asks that rows decode to the same in batches of any size: those that are copied column by column, and
// those with a row that DuckDB can not hold, which are copied row by row. What decodes must be what was sent.
func TestArrowBatchesOfAnySize(t *testing.T) {
	t.Parallel()
	pairs := []string{"ts", "TIMESTAMP", "s", "VARCHAR", "d", "DECIMAL(10,2)", "b", "BLOB", "i", "INTEGER", "day", "DATE", "at", "TIME",
		"yes", "BOOLEAN", "list", "BIGINT[]"}
	whole := 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		rec := hostileRecord(t, rng, pairs, []int{0, 8}[rng.IntN(2)], []int{0, 60}[rng.IntN(2)])
		at := 0
		var parts []arrow.Record
		for at < int(rec.NumRows()) {
			n := min(1+rng.IntN(20), int(rec.NumRows())-at)
			parts = append(parts, rec.NewSlice(int64(at), int64(at+n)))
			at += n
		}
		m := messages(string(ipcStream(t, rec)), string(ipcStream(t, parts...)))
		d := decoder(t, Options{Format: "arrow"}, pairs...)
		r, err := d.Decode(m)
		require.NoError(t, err)
		checkAccounted(t, r, 2, len(m.Data))
		checkSame(t, r, Options{Format: "arrow"}, pairs, m)
		half := r.Rows.NumRows() / 2
		one, two := r.Rows.NewSlice(0, half), r.Rows.NewSlice(half, 2*half)
		require.True(t, array.RecordEqual(one, two), "seed %d", seed)
		require.Equal(t, r.Index[:half], r.Index[half:])
		require.Len(t, r.Bad, 2*int(rec.NumRows()-half))
		for i, bad := range r.Bad[:len(r.Bad)/2] {
			other := r.Bad[len(r.Bad)/2+i]
			require.Equal(t, []any{bad.Index, bad.Reason}, []any{other.Index, other.Reason})
		}
		if len(r.Bad) == 0 {
			require.True(t, array.RecordEqual(rec, one), "seed %d", seed)
			whole++
		}
	}
	require.Greater(t, whole, 100)
	require.Less(t, whole, 350)
}

// hostileRecord has random values, a NULL among so many and a value that DuckDB can not hold among so many; 0 for none.
func hostileRecord(t *testing.T, rng *rand.Rand, pairs []string, nulls, wrong int) arrow.Record {
	t.Helper()
	var fields []arrow.Field
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, arrow.Field{Name: pairs[i], Type: columnTypes()[pairs[i+1]], Nullable: true})
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for range 1 + rng.IntN(60) {
		for _, f := range b.Fields() {
			if nulls > 0 && rng.IntN(nulls) == 0 {
				f.AppendNull()
				continue
			}
			appendHostile(f, rng, wrong > 0 && rng.IntN(wrong) == 0)
		}
	}
	return b.NewRecord()
}

func appendHostile(f array.Builder, rng *rand.Rand, wrong bool) {
	n := rng.Int64N(50_000)
	either := func(good, bad int64) int64 {
		if wrong {
			return bad
		}
		return good
	}
	texts := []string{"", "a", "ä", "日本", "🌊", "a longer text"}
	switch f := f.(type) {
	case *array.TimestampBuilder:
		f.Append(arrow.Timestamp(either(n, -1<<63)))
	case *array.StringBuilder:
		f.Append(texts[rng.IntN(len(texts))] + []string{"", "\xc3"}[either(0, 1)])
	case *array.Decimal128Builder:
		f.Append(decimal128.FromI64(either(-n, 1e10)))
	case *array.BinaryBuilder:
		f.Append([]byte(texts[rng.IntN(len(texts))] + "\xa4"))
	case *array.Int32Builder:
		f.Append(int32(n))
	case *array.Date32Builder:
		f.Append(arrow.Date32(either(-n, 1<<31-1)))
	case *array.Time64Builder:
		f.Append(arrow.Time64(either(n, 86_400_000_000)))
	case *array.BooleanBuilder:
		f.Append(n%3 == 0)
	case *array.ListBuilder:
		f.Append(true)
		for k := range n % 3 {
			f.ValueBuilder().(*array.Int64Builder).Append(k)
		}
	}
}

// TestArrowTextsThatAreValidTogether has two texts that halve a character: their bytes are valid one behind the other.
func TestArrowTextsThatAreValidTogether(t *testing.T) {
	t.Parallel()
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "s", Type: arrow.BinaryTypes.String}}, nil))
	defer b.Release()
	b.Field(0).(*array.StringBuilder).AppendValues([]string{"a", "\xc3", "\xa4", "ä"}, nil)
	got, r := decodeAll(t, Options{Format: "arrow"}, messages(string(ipcStream(t, b.NewRecord()))), "s", "VARCHAR")
	require.JSONEq(t, `[{"s":"a"},{"s":"ä"}]`, got)
	require.Len(t, r.Bad, 2)
}

// TestArrowTextsOfRowsThatAreSetAside has texts that fill a column to its end but for those of a row that is set aside.
func TestArrowTextsOfRowsThatAreSetAside(t *testing.T) {
	t.Parallel()
	d := decoder(t, Options{Format: "arrow"}, "s", "VARCHAR", "day", "DATE")
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "day", Type: arrow.FixedWidthTypes.Date32}}, nil))
	defer b.Release()
	add := func(days ...arrow.Date32) {
		for i := range days {
			b.Field(0).(*array.StringBuilder).AppendValues([]string{"a text"}, []bool{i < 2})
		}
		b.Field(1).(*array.Date32Builder).AppendValues(days, nil)
		d.Add(messages(string(ipcStream(t, b.NewRecord()))))
	}
	d.Begin(0)
	defer d.Abandon()
	add(0)
	texts := d.columns[0]
	full, err := unix.Mmap(-1, 0, offsetMax, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(full)) }()
	texts.data = full
	texts.setEnd(0, offsetMax-len("a text"))
	add(1<<31-1, 1, 2)
	require.Len(t, d.bad, 1)
	require.Equal(t, 3, d.row)
	require.Equal(t, offsetMax, texts.start(3))
	require.False(t, d.tooBig)
	add(3)
	require.True(t, d.tooBig)
}
