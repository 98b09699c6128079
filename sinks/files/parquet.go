package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/tidemill/tidemill/internal/parquetenc"
	"github.com/tidemill/tidemill/internal/zstdpages"
)

// mergeRows is how many rows of an old file are read at a time.
const mergeRows = 122_880

type parquetCodec struct {
	compression compress.Compression
	writers     sync.Pool // of *parquetenc.Writer: those of files that are written
}

func (*parquetCodec) extension() string { return ".parquet" }

func (c *parquetCodec) create(w io.Writer, s *arrow.Schema) (encoder, error) {
	writer, ok := c.writers.Get().(*parquetenc.Writer)
	if !ok || !writer.Schema().Equal(s) {
		var err error
		if writer, err = parquetenc.New(s, c.compression); err != nil {
			return nil, err //nolint:wrapcheck // it says what it can not write
		}
	}
	if err := writer.Begin(w); err != nil {
		return nil, err //nolint:wrapcheck // stage does
	}
	return &parquetEncoder{writer: writer, pool: &c.writers}, nil
}

// parquetEncoder writes one file.
type parquetEncoder struct {
	writer *parquetenc.Writer
	pool   *sync.Pool
}

func (e *parquetEncoder) write(r arrow.Record) error { return e.writer.Write(r) } //nolint:wrapcheck // stage does

func (e *parquetEncoder) close() error {
	if err := e.writer.Close(); err != nil {
		return err //nolint:wrapcheck // stage does
	}
	e.pool.Put(e.writer)
	return nil
}

func (c *parquetCodec) merge(ctx context.Context, w io.Writer, next func() ([]byte, error)) error {
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

func (c *parquetCodec) mergeOne(ctx context.Context, w io.Writer, enc encoder, data []byte) (encoder, error) {
	zstdpages.Install()
	pf, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		return enc, fmt.Errorf("open parquet file: %w", err)
	}
	defer pf.Close() //nolint:errcheck // bytes in memory
	fr, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{BatchSize: mergeRows}, memory.DefaultAllocator)
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
