package files

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/stream"
)

// BenchmarkParquet writes files of few rows, as a trigger of seconds makes them, and of many.
func BenchmarkParquet(b *testing.B) {
	for _, rows := range []int{1, 300, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			r := counts(b, rows)
			defer r.Release()
			c, err := newCodec("parquet", stream.SinkConfig{})
			require.NoError(b, err)
			var out bytes.Buffer
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				out.Reset()
				w, err := c.create(&out, r.Schema())
				require.NoError(b, err)
				require.NoError(b, w.write(r))
				require.NoError(b, w.close())
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/file")
			b.ReportMetric(float64(out.Len()), "file-B")
		})
	}
}

// counts is a result as that of the Yahoo benchmark's query: windows, campaigns and their views.
func counts(b *testing.B, rows int) arrow.Record {
	b.Helper()
	start, campaign, views := make([]arrow.Timestamp, rows), make([]string, rows), make([]int64, rows)
	for i := range rows {
		start[i] = arrow.Timestamp(1_767_225_600_000_000 + i/100*10_000_000)
		campaign[i] = fmt.Sprintf("%08x-6d0e-4b51-9a3f-%012x", i*2654435761&0xffffffff, i%1000)
		views[i] = int64(500 + i*7919%250)
	}
	times := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Microsecond})
	texts, numbers := array.NewStringBuilder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator)
	times.AppendValues(start, nil)
	texts.AppendValues(campaign, nil)
	numbers.AppendValues(views, nil)
	columns := []arrow.Array{times.NewArray(), texts.NewArray(), numbers.NewArray()}
	fields := make([]arrow.Field, len(columns))
	for i, name := range []string{"window_start", "campaign_id", "views"} {
		fields[i] = arrow.Field{Name: name, Type: columns[i].DataType()}
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), columns, int64(rows))
}

// cpu is how many nanoseconds the process has had of all cores.
func cpu(b *testing.B) int64 {
	b.Helper()
	var use unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return use.Utime.Nano() + use.Stime.Nano()
}
