package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/apache/arrow/go/v17/parquet/schema"

	"github.com/tidemill/tidemill/internal/zstdpages"
)

// rowGroupRows is DuckDB's own unit: a reader can hand one to each thread.
const rowGroupRows = 122_880

type parquetCodec struct{ compression compress.Compression }

func (parquetCodec) extension() string { return ".parquet" }

func (c parquetCodec) create(w io.Writer, s *arrow.Schema) (encoder, error) {
	zstdpages.KeepEncoder()
	return &parquetEncoder{codec: c, schema: s, out: &tail{below: w}, localTime: holdsTime(s.Fields())}, nil
}

// properties are those of a file that begins with the rows of r.
func (c parquetCodec) properties(s *arrow.Schema, r arrow.Record) (*parquet.WriterProperties, error) {
	list := []parquet.WriterProperty{
		parquet.WithCompression(c.compression),
		parquet.WithMaxRowGroupLength(rowGroupRows),
		parquet.WithVersion(parquet.V2_LATEST), // older ones have no microseconds without a zone
		parquet.WithCreatedBy("tidemill"),
	}
	columns, err := pqarrow.ToParquet(s, parquet.NewWriterProperties(list...), pqarrow.NewArrowWriterProperties())
	if err != nil {
		return nil, fmt.Errorf("make parquet schema: %w", err)
	}
	for i := range columns.NumColumns() {
		// The library (arrow/go v17.0.0) writes 4294967295 as the least value of small unsigned integers. Readers
		// skip row groups by such figures, so unsigned columns get none.
		column := columns.Column(i)
		if t, ok := column.LogicalType().(*schema.IntLogicalType); ok && !t.IsSigned() {
			list = append(list, parquet.WithStatsFor(column.Path(), false))
		}
	}
	for _, name := range manyValued(r) {
		list = append(list, parquet.WithDictionaryFor(name, false))
	}
	return parquet.NewWriterProperties(list...), nil
}

// parquetEncoder writes one file. The library says of every TIME that it is in UTC, which DuckDB reads as
// TIME WITH TIME ZONE, and has no option for it; so the footer is put right before it is written.
type parquetEncoder struct {
	codec     parquetCodec
	schema    *arrow.Schema
	w         *pqarrow.FileWriter // nil until there are rows, which say how they are best written
	out       *tail
	localTime bool
}

func (e *parquetEncoder) begin(r arrow.Record) error {
	props, err := e.codec.properties(e.schema, r)
	if err != nil {
		return err
	}
	e.w, err = pqarrow.NewFileWriter(e.schema, e.out, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		return fmt.Errorf("begin parquet file: %w", err)
	}
	return nil
}

func (e *parquetEncoder) write(r arrow.Record) error {
	if r.NumRows() == 0 {
		return nil
	}
	if e.w == nil {
		if err := e.begin(r); err != nil {
			return err
		}
	}
	return e.w.WriteBuffered(r) //nolint:wrapcheck // stage does
}

func (e *parquetEncoder) close() error {
	if e.w == nil { // a file without rows
		if err := e.begin(nil); err != nil {
			return err
		}
	}
	e.out.hold = true
	if err := e.w.Close(); err != nil {
		return err //nolint:wrapcheck // stage does
	}
	if e.localTime {
		if err := e.out.localTime(); err != nil {
			return err
		}
	}
	_, err := e.out.below.Write(e.out.held)
	return err //nolint:wrapcheck // stage does
}

// tail passes bytes on, or from some point holds them back. It has no Close, which the library would call.
type tail struct {
	below io.Writer
	hold  bool
	held  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	if t.hold {
		t.held = append(t.held, p...)
		return len(p), nil
	}
	return t.below.Write(p) //nolint:wrapcheck // stage does
}

// localTime rewrites the footer that the held bytes end in: metadata, its length in 4 bytes, and the magic.
func (t *tail) localTime() error {
	const trailer = 8
	end := len(t.held) - trailer
	size := 0
	if end >= 0 {
		size = int(binary.LittleEndian.Uint32(t.held[end:]))
	}
	if end < 0 || size > end {
		return errors.New("end parquet file: it has no footer")
	}
	meta, err := metadata.NewFileMetaData(t.held[end-size:end], nil)
	if err != nil {
		return fmt.Errorf("end parquet file: %w", err)
	}
	for _, column := range meta.FileMetaData.Schema {
		if column.LogicalType != nil && column.LogicalType.TIME != nil {
			column.LogicalType.TIME.IsAdjustedToUTC = false
			column.ConvertedType = nil // the older way to say TIME, which always means UTC
		}
	}
	var footer bytes.Buffer
	if _, err := meta.WriteTo(&footer, nil); err != nil {
		return fmt.Errorf("end parquet file: %w", err)
	}
	magic := string(t.held[end+4:])
	t.held = append(t.held[:end-size], footer.Bytes()...)
	t.held = binary.LittleEndian.AppendUint32(t.held, uint32(footer.Len())) //nolint:gosec // about as long as it was
	t.held = append(t.held, magic...)
	return nil
}

func holdsTime(fields []arrow.Field) bool {
	return slices.ContainsFunc(fields, func(f arrow.Field) bool {
		if id := f.Type.ID(); id == arrow.TIME32 || id == arrow.TIME64 {
			return true
		}
		nested, ok := f.Type.(arrow.NestedType)
		return ok && holdsTime(nested.Fields())
	})
}

func (c parquetCodec) merge(ctx context.Context, w io.Writer, next func() ([]byte, error)) error {
	var enc encoder
	for {
		data, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if enc, err = c.mergeOne(ctx, w, enc, data); err != nil {
			return err
		}
	}
	if enc == nil {
		return nil
	}
	return enc.close()
}

func (c parquetCodec) mergeOne(ctx context.Context, w io.Writer, enc encoder, data []byte) (encoder, error) {
	zstdpages.KeepEncoder()
	pf, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		return enc, fmt.Errorf("open parquet file: %w", err)
	}
	defer pf.Close() //nolint:errcheck // bytes in memory
	fr, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: rowGroupRows}, memory.DefaultAllocator)
	if err != nil {
		return enc, fmt.Errorf("open parquet file: %w", err)
	}
	rr, err := fr.GetRecordReader(ctx, nil, nil)
	if err != nil {
		return enc, fmt.Errorf("read parquet file: %w", err)
	}
	defer rr.Release()
	if enc == nil {
		if enc, err = c.create(w, rr.Schema()); err != nil {
			return nil, err
		}
	}
	for rr.Next() {
		if err := enc.write(rr.Record()); err != nil {
			return enc, err
		}
	}
	if err := rr.Err(); err != nil && !errors.Is(err, io.EOF) {
		return enc, fmt.Errorf("read parquet file: %w", err)
	}
	return enc, nil
}
