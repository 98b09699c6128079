package parquetenc

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"

	"github.com/tidemill/tidemill/internal/zstdpages"
)

const magic = "PAR1"

// Writer writes one file, or one after the other.
type Writer struct {
	schema  *arrow.Schema
	out     *counted
	props   *parquet.WriterProperties
	meta    *metadata.FileMetaDataBuilder
	columns []*column
	raw     []byte // a page before it is compressed
	size    limits
	pager   file.PageWriter // nil before the first row group
	rows    int             // of the open row group
	groups  int16
}

// New makes a writer for records of the schema s. It refuses types that have no form in Parquet.
func New(s *arrow.Schema, compression compress.Compression) (*Writer, error) {
	return sized(s, compression, usual())
}

func sized(s *arrow.Schema, compression compress.Compression, size limits) (*Writer, error) {
	made, err := fileSchema(s)
	if err != nil {
		return nil, err
	}
	var codec compress.Codec
	if compression != compress.Codecs.Uncompressed {
		zstdpages.Install()
		if codec, err = compress.GetCodec(compression); err != nil {
			return nil, fmt.Errorf("begin parquet file: %w", err)
		}
	}
	props := parquet.NewWriterProperties(parquet.WithCompression(compression), parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithCreatedBy("tidemill"))
	described, err := describe(readable(s))
	if err != nil {
		return nil, err
	}
	f := &Writer{schema: s, size: size, props: props, meta: metadata.NewFileMetadataBuilder(made, props, described)}
	for i, l := range leaves(s) {
		c, err := newColumn(l, made.Column(i), codec, size)
		if err != nil {
			return nil, err
		}
		f.columns = append(f.columns, c)
	}
	return f, nil
}

// Schema is that of the records.
func (f *Writer) Schema() *arrow.Schema { return f.schema }

// Begin begins a file, which goes to w. It is the first call, and may come again after Close, in memory that is there by
// then. After an error the writer is of no more use.
func (f *Writer) Begin(w io.Writer) error {
	f.out, f.groups, f.pager = &counted{below: w}, 0, nil
	if _, err := io.WriteString(f.out, magic); err != nil {
		return fmt.Errorf("begin parquet file: %w", err)
	}
	return nil
}

// describe gives the footer an Arrow schema, by which Arrow's readers give back the very types.
func describe(s *arrow.Schema) (metadata.KeyValueMetadata, error) {
	var message bytes.Buffer
	if err := ipc.NewWriter(&message, ipc.WithSchema(s)).Close(); err != nil {
		return nil, fmt.Errorf("describe parquet schema: %w", err)
	}
	kv := metadata.NewKeyValueMetadata()
	if err := kv.Append("ARROW:schema", base64.StdEncoding.EncodeToString(message.Bytes())); err != nil {
		return nil, fmt.Errorf("describe parquet schema: %w", err)
	}
	return kv, nil
}

// Write appends the rows of r, which has the columns of the file's schema. It keeps nothing of r.
func (f *Writer) Write(r arrow.Record) error {
	for from, rows := 0, int(r.NumRows()); from < rows; {
		to := min(rows, from+f.size.groupRows-f.rows)
		for _, c := range f.columns {
			if err := c.add(r.Column(c.field), from, to, &f.raw); err != nil {
				return fmt.Errorf("encode column %q: %w", r.ColumnName(c.field), err)
			}
		}
		f.rows += to - from
		from = to
		if f.rows == f.size.groupRows {
			if err := f.endGroup(); err != nil {
				return err
			}
		}
	}
	return nil
}

// endGroup writes the open row group.
func (f *Writer) endGroup() error {
	group := f.meta.AppendRowGroup()
	start := f.out.Tell()
	for i, c := range f.columns {
		meta := group.NextColumnChunk()
		if err := f.turn(meta, int16(i)); err != nil { //nolint:gosec // a schema has fewer columns
			return fmt.Errorf("write parquet file: %w", err)
		}
		if err := c.end(f.pager, meta, &f.raw); err != nil {
			return fmt.Errorf("write parquet file: %w", err)
		}
	}
	group.SetNumRows(f.rows)
	if err := group.Finish(f.out.Tell()-start, f.groups); err != nil {
		return fmt.Errorf("write parquet file: %w", err)
	}
	f.groups++
	f.rows = 0
	return nil
}

// turn makes the page writer write the next chunk.
func (f *Writer) turn(meta *metadata.ColumnChunkMetaDataBuilder, column int16) (err error) {
	level, compression := compress.DefaultCompressionLevel, f.props.Compression()
	if f.pager == nil {
		f.pager, err = file.NewPageWriter(f.out, compression, level, meta, f.groups, column, memory.DefaultAllocator, false, nil, nil)
		return err //nolint:wrapcheck // endGroup does
	}
	return f.pager.Reset(f.out, compression, level, meta, f.groups, column, nil, nil) //nolint:wrapcheck // endGroup does
}

// Close writes what is left and the footer. It does not close what the file goes to.
func (f *Writer) Close() error {
	if f.rows > 0 {
		if err := f.endGroup(); err != nil {
			return err
		}
	}
	meta, err := f.meta.Finish()
	if err != nil {
		return fmt.Errorf("end parquet file: %w", err)
	}
	n, err := meta.WriteTo(f.out, nil)
	if err != nil {
		return fmt.Errorf("end parquet file: %w", err)
	}
	if _, err := f.out.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(n)), magic...)); err != nil { //nolint:gosec // a footer is small
		return fmt.Errorf("end parquet file: %w", err)
	}
	return nil
}

// counted knows how many bytes went through it.
type counted struct {
	below io.Writer
	n     int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.below.Write(p)
	c.n += int64(n)
	return n, err //nolint:wrapcheck // the writer says what it does
}

// Tell is how many.
func (c *counted) Tell() int64 { return c.n }
