package file

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"runtime"

	"github.com/apache/arrow/go/v17/parquet/file"
	meta "github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// footer is what the footer of a Parquet file says.
type footer struct {
	rows    int64
	columns map[string]schema.Node // nil for a name that two columns have
	times   *stream.ParquetTimes
}

// parquetSet reads the footers of files, as many at the same time as there are cores. It is nil if that fails: what the
// matter is will be seen when the file's rows are read.
func parquetSet(ctx context.Context, fs vfs.FS, files []entry, times string) (*stream.ParquetSet, error) {
	footers := make([]footer, len(files))
	group, going := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, e := range files {
		group.Go(func() (err error) {
			if err = going.Err(); err == nil {
				footers[i], err = readFooter(fs, e, times)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil || len(files) == 0 {
		return nil, context.Cause(ctx)
	}
	return merged(files, footers), nil
}

func readFooter(fs vfs.FS, e entry, times string) (f footer, err error) {
	defer recovered(&err)
	in, err := fs.Open(e.Path)
	if err != nil {
		return f, err //nolint:wrapcheck // nobody reads it
	}
	defer func() { _ = in.Close() }()
	r, err := file.NewParquetReader(io.NewSectionReader(in, 0, e.Size))
	if err != nil {
		return f, err //nolint:wrapcheck // nobody reads it
	}
	defer func() { _ = r.Close() }()
	said := r.MetaData()
	root := said.Schema.Root()
	f.rows, f.columns = said.NumRows, make(map[string]schema.Node, root.NumFields())
	for i := range root.NumFields() {
		node := root.Field(i)
		if _, twice := f.columns[node.Name()]; twice {
			node = nil
		}
		f.columns[root.Field(i).Name()] = node
	}
	if node := f.columns[times]; node != nil {
		f.times = timesOf(said, node)
	}
	if f.rows < 0 {
		return f, fmt.Errorf("it says that it has %d rows", f.rows)
	}
	return f, nil
}

// merged is what the footers say together.
func merged(files []entry, footers []footer) *stream.ParquetSet {
	set := &stream.ParquetSet{Alike: map[string]bool{}, Times: noTimes()}
	for i, f := range footers {
		set.Paths, set.Rows = append(set.Paths, files[i].Path), set.Rows+f.rows
		if f.times == nil {
			set.Times = nil
		}
		if set.Times != nil {
			set.Times.Nulls += f.times.Nulls
			set.Times.Least, set.Times.Most = min(set.Times.Least, f.times.Least), max(set.Times.Most, f.times.Most)
		}
	}
	for name, node := range footers[0].columns {
		set.Alike[name] = node != nil
		for _, f := range footers[1:] {
			if other := f.columns[name]; node == nil || other == nil || !node.Equals(other) {
				set.Alike[name] = false
			}
		}
	}
	return set
}

func noTimes() *stream.ParquetTimes {
	return &stream.ParquetTimes{Least: math.MaxInt64, Most: math.MinInt64}
}

// timesOf returns how the timestamps of a column lie, or nil where a row group does not say it.
func timesOf(said *meta.FileMetaData, column schema.Node) *stream.ParquetTimes {
	unit := int64(1) // in microseconds
	logical, ok := column.LogicalType().(*schema.TimestampLogicalType)
	leaf := said.Schema.ColumnIndexByNode(column)
	switch {
	case !ok || leaf < 0:
		return nil
	case logical.TimeUnit() == schema.TimeUnitMillis:
		unit = 1000
	case logical.TimeUnit() != schema.TimeUnitMicros:
		return nil
	}
	t := noTimes()
	for _, group := range said.RowGroups {
		chunk := group.Columns[leaf].MetaData
		stats := chunk.Statistics
		if stats == nil || stats.NullCount == nil {
			return nil
		}
		t.Nulls += *stats.NullCount
		if *stats.NullCount == chunk.NumValues {
			continue
		}
		least, most := stats.MinValue, stats.MaxValue
		if least == nil || most == nil {
			least, most = stats.Min, stats.Max // as files had them before
		}
		if !add(t, least, unit) || !add(t, most, unit) {
			return nil
		}
	}
	return t
}

// add puts a value of the statistics, in units of so many microseconds, among the others. It returns false if it can not be.
func add(t *stream.ParquetTimes, value []byte, micros int64) bool {
	if len(value) != 8 {
		return false
	}
	v := int64(binary.LittleEndian.Uint64(value)) //nolint:gosec // as it is stored
	if v > math.MaxInt64/micros || v < math.MinInt64/micros {
		return false
	}
	t.Least, t.Most = min(t.Least, v*micros), max(t.Most, v*micros)
	return true
}
