package keyed

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/spill"
)

// benchSchema is that of SELECT k, count(*), sum(v), max(v) GROUP BY k.
func benchSchema(key arrow.DataType) *arrow.Schema {
	return schemaOf(key, arrow.PrimitiveTypes.Int64, &arrow.Decimal128Type{Precision: 38},
		arrow.PrimitiveTypes.Int64)
}

func benchRecord(schema *arrow.Schema, rows int, key func(i int) int64, value int64) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range rows {
		switch f := b.Field(0).(type) {
		case *array.Int64Builder:
			f.Append(key(i))
		case *array.StringBuilder:
			f.Append(fmt.Sprintf("customer-%d", key(i)))
		}
		b.Field(1).(*array.Int64Builder).Append(value)
		b.Field(2).(*array.Decimal128Builder).Append(decimal128.FromI64(value))
		b.Field(3).(*array.Int64Builder).Append(value)
	}
	return b.NewRecord()
}

func benchStore(b *testing.B, key arrow.DataType, n int, memory *spill.Pool) *Store {
	b.Helper()
	s := open(b, Options{Schema: benchSchema(key), Keys: 1, Memory: memory})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for from := 0; from < n; from += 100_000 {
		rec := benchRecord(s.Schema(), min(100_000, n), func(i int) int64 { return int64(from + i) }, 1)
		commit(s, func() { require.NoError(b, s.Put(rec)) })
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("%d keys: %.1f bytes per key counted, %.1f in the heap", n, float64(s.Bytes())/float64(n),
		float64(after.HeapAlloc-before.HeapAlloc)/float64(n))
	return s
}

// BenchmarkLookupPut is a batch of an aggregate over random keys: get their rows, put them back changed.
func BenchmarkLookupPut(b *testing.B) {
	for _, key := range []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String} {
		for _, n := range []int{10_000, 1_000_000, 10_000_000} {
			if testing.Short() && n > 1_000_000 {
				continue
			}
			var s *Store
			for _, rows := range []int{100, 1_000, 100_000} {
				b.Run(fmt.Sprintf("%s/keys=%d/rows=%d", key, n, rows), func(b *testing.B) {
					if s == nil {
						s = benchStore(b, key, n, nil)
					}
					lookupPut(b, s, n, rows)
				})
			}
		}
	}
}

// BenchmarkSpilled is the same over 2,000,000 keys of which one in ten or so is in memory alone.
func BenchmarkSpilled(b *testing.B) {
	const keys = 2_000_000
	memory := spill.New(spill.Options{Dir: b.TempDir(), Resident: 48 << 20, Room: 16 << 20})
	s := benchStore(b, arrow.PrimitiveTypes.Int64, keys, memory)
	for _, rows := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) { lookupPut(b, s, keys, rows) })
	}
}

func lookupPut(b *testing.B, s *Store, n, rows int) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	recs := make([]arrow.Record, max(2, 400_000/rows))
	for i := range recs {
		recs[i] = benchRecord(s.Schema(), rows, func(int) int64 { return rng.Int64N(int64(n)) }, int64(i+2))
	}
	i := 0
	for b.Loop() {
		rec := recs[i%len(recs)]
		i++
		s.Begin()
		known, err := s.Lookup(rec)
		require.NoError(b, err)
		require.NotEmpty(b, known)
		require.NoError(b, s.Put(rec))
		s.Commit()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
}

// BenchmarkExpire puts windows and expires them.
func BenchmarkExpire(b *testing.B) {
	schema := schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64)
	for _, name := range []string{"one time", "a time each"} {
		b.Run(name, func(b *testing.B) {
			const rows = 100_000
			s := open(b, Options{Schema: schema, Keys: 1, Time: "c1"})
			rng := rand.New(rand.NewPCG(1, 2))
			builder := array.NewRecordBuilder(memory.DefaultAllocator, schema)
			for i := range rows {
				builder.Field(0).(*array.Int64Builder).Append(rng.Int64())
				time := int64(i)
				if name == "one time" {
					time = 1
				}
				builder.Field(1).(*array.Int64Builder).Append(time)
				builder.Field(2).(*array.Int64Builder).Append(1)
			}
			rec := builder.NewRecord()
			for b.Loop() {
				commit(s, func() { require.NoError(b, s.Put(rec)) })
				commit(s, func() { s.Expire(rows) })
				require.Zero(b, s.Len())
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}

// BenchmarkRestore puts the base of a state version of 2,000,000 keys, as a recovery does, in the records that a version
// has.
func BenchmarkRestore(b *testing.B) {
	schema := schemaOf(arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int64)
	var groups [][]arrow.Record
	const group, all = 1 << 16, 2_000_000
	for from := 0; from < all; from += group {
		build := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for i := from; i < min(all, from+group); i++ {
			build.Field(0).(*array.Int64Builder).Append(int64(uint64(i) * 0x9E3779B97F4A7C15))
			build.Field(1).(*array.Int64Builder).Append(int64(i))
			build.Field(2).(*array.Int64Builder).Append(1)
		}
		groups = append(groups, []arrow.Record{build.NewRecord()})
	}
	b.ReportAllocs()
	for b.Loop() {
		s := open(b, Options{Schema: schema, Keys: 1})
		require.NoError(b, s.Restore(true, nil, nil))
		for _, g := range groups {
			for _, rec := range g {
				require.NoError(b, s.Fill(rec))
			}
		}
		require.Equal(b, all, s.Len())
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/all, "ns/row")
}
