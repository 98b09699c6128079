package files

import (
	"context"
	"errors"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet/compress"

	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/stream"
)

// flushBytes is how much text a row encoder gathers before it writes.
const flushBytes = 256 << 10

// codec is one file format.
type codec interface {
	extension() string
	create(w io.Writer, schema *arrow.Schema) (encoder, error)
	// merge writes the rows of whole files, in order, as one. All have the same columns.
	merge(ctx context.Context, w io.Writer, next func() ([]byte, error)) error
}

// encoder writes one file. Close completes it; it does not close what is below.
type encoder interface {
	write(r arrow.Record) error
	close() error
}

func newCodec(kind string, cfg stream.SinkConfig) (codec, error) {
	switch kind {
	case "parquet":
		codecs := map[string]compress.Compression{
			"": compress.Codecs.Zstd, "zstd": compress.Codecs.Zstd,
			"snappy": compress.Codecs.Snappy, "none": compress.Codecs.Uncompressed,
		}
		return &parquetCodec{compression: codecs[cfg.Options.String("compression")]}, nil
	case "csv":
		d, err := delimiter(cfg)
		header := !cfg.Options.Has("csv_header") || cfg.Options.Bool("csv_header")
		return csvCodec{delimiter: d, header: header}, err
	}
	return jsonCodec{}, nil
}

type jsonCodec struct{}

func (jsonCodec) extension() string { return ".json" }

func (jsonCodec) create(w io.Writer, _ *arrow.Schema) (encoder, error) {
	return &textEncoder{w: w, row: func(dst []byte, rows *rowenc.Rows, i int) []byte {
		return append(rows.JSON(dst, i), '\n')
	}}, nil
}

func (jsonCodec) merge(_ context.Context, w io.Writer, next func() ([]byte, error)) error {
	return concat(w, next, func(data []byte, _ int) []byte { return data })
}

type csvCodec struct {
	delimiter byte
	header    bool
}

func (csvCodec) extension() string { return ".csv" }

func (c csvCodec) create(w io.Writer, schema *arrow.Schema) (encoder, error) {
	e := &textEncoder{w: w, row: func(dst []byte, rows *rowenc.Rows, i int) []byte {
		return rows.CSV(dst, i, c.delimiter)
	}}
	if c.header {
		e.buf = rowenc.Header(e.buf, schema, c.delimiter)
	}
	return e, nil
}

func (c csvCodec) merge(_ context.Context, w io.Writer, next func() ([]byte, error)) error {
	return concat(w, next, func(data []byte, i int) []byte {
		if c.header && i > 0 {
			return data[headerBytes(data):]
		}
		return data
	})
}

// headerBytes returns the length of the first CSV record: a name in quotes may hold line breaks.
func headerBytes(data []byte) int {
	quoted := false
	for i, b := range data {
		switch {
		case b == '"':
			quoted = !quoted
		case b == '\n' && !quoted:
			return i + 1
		}
	}
	return len(data)
}

func concat(w io.Writer, next func() ([]byte, error), cut func([]byte, int) []byte) error {
	for i := 0; ; i++ {
		data, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(cut(data, i)); err != nil {
			return err //nolint:wrapcheck // stage does
		}
	}
}

// textEncoder writes one line per row.
type textEncoder struct {
	w   io.Writer
	row func(dst []byte, rows *rowenc.Rows, i int) []byte
	buf []byte
}

func (e *textEncoder) write(r arrow.Record) error {
	rows := rowenc.Bind(r, -1)
	for i := range int(r.NumRows()) {
		e.buf = e.row(e.buf, rows, i)
		if len(e.buf) >= flushBytes {
			if err := e.close(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *textEncoder) close() error {
	_, err := e.w.Write(e.buf)
	e.buf = e.buf[:0]
	return err //nolint:wrapcheck // stage does
}
