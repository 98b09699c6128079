package flatparquet

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/pool"
)

// BenchmarkColumn reads columns of 100,000 rows, some NULL, beside Arrow's reader.
func BenchmarkColumn(b *testing.B) {
	const rows = 100_000
	for name, dt := range map[string]arrow.DataType{
		"number": arrow.PrimitiveTypes.Int64, "text": arrow.BinaryTypes.String, "bool": arrow.FixedWidthTypes.Boolean,
	} {
		for kind, values := range map[string]int64{"few": 100, "many": 1 << 40} {
			rng := rand.New(rand.NewPCG(1, 2))
			builder := array.NewBuilder(memory.DefaultAllocator, dt)
			for i := range rows {
				if i%50 == 0 {
					builder.AppendNull()
				} else {
					appendValue(builder, rng.Int64N(values))
				}
			}
			schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: dt, Nullable: true}}, nil)
			var buf bytes.Buffer
			w, err := pqarrow.NewFileWriter(schema, &buf, parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy)),
				pqarrow.DefaultWriterProps())
			require.NoError(b, err)
			require.NoError(b, w.Write(array.NewRecord(schema, []arrow.Array{builder.NewArray()}, rows)))
			require.NoError(b, w.Close())
			b.Run(name+"/"+kind+"/here", func(b *testing.B) { readHere(b, buf.Bytes(), dt) })
			b.Run(name+"/"+kind+"/arrow", func(b *testing.B) { readByArrow(b, buf.Bytes()) })
		}
	}
}

func readHere(b *testing.B, data []byte, dt arrow.DataType) {
	b.Helper()
	var mem pool.Memory
	for b.Loop() {
		mem.Turn()
		pr, err := file.NewParquetReader(bytes.NewReader(data))
		require.NoError(b, err)
		arr, err := Column(File{pr, data}, 0, dt, &mem)
		require.NoError(b, err)
		arr.Release()
	}
}

func readByArrow(b *testing.B, data []byte) {
	b.Helper()
	for b.Loop() {
		pr, err := file.NewParquetReader(bytes.NewReader(data))
		require.NoError(b, err)
		fr, err := pqarrow.NewFileReader(pr, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		require.NoError(b, err)
		table, err := fr.ReadTable(b.Context())
		require.NoError(b, err)
		table.Release()
	}
}
