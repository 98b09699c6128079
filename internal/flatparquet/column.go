package flatparquet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
)

// ErrUnfit says that a column has something that only Arrow's own reader knows.
var ErrUnfit = errors.New("the column is not for this reader") //nolint:gochecknoglobals // a sentinel

// errTooLong says that an array can not hold the texts of a column.
var errTooLong = errors.New("a column has more than 2 GiB of text") //nolint:gochecknoglobals // a sentinel

// File is an open Parquet file and its bytes.
type File struct {
	*file.Reader
	Data []byte
}

// Column returns the values of the leaf with this number, which is a column of its own, as an array of dt, in memory of mem.
// dt is what Arrow's reader would make of it. The caller releases the array.
func Column(f File, leaf int, dt arrow.DataType, mem memory.Allocator) (arrow.Array, error) {
	d := f.MetaData().Schema.Column(leaf)
	if d.MaxRepetitionLevel() > 0 || d.MaxDefinitionLevel() > 1 || f.WriterVersion().LessThan(metadata.Parquet816FixedVersion) {
		return nil, ErrUnfit
	}
	c := &column{mem: mem, optional: d.MaxDefinitionLevel() == 1, rows: int(f.NumRows())}
	if c.values = valuesOf(dt, d.PhysicalType(), f, leaf, mem); c.values == nil {
		return nil, ErrUnfit
	}
	for g := range f.NumRowGroups() {
		if err := c.chunk(f, g, leaf); err != nil {
			c.release()
			return nil, err
		}
	}
	return c.array(dt), nil
}

// valuesOf returns memory for the values of a type, nil if it is not for this reader.
func valuesOf(dt arrow.DataType, physical parquet.Type, f File, leaf int, mem memory.Allocator) values {
	rows := int(f.NumRows())
	switch id := dt.ID(); physical {
	case parquet.Types.Int32:
		switch id {
		case arrow.INT32, arrow.UINT32, arrow.DATE32, arrow.TIME32:
			return newFixed[int32](mem, rows)
		case arrow.DECIMAL128:
			return decimals[int32]{newFixed[int32](mem, rows), mem}
		}
	case parquet.Types.Int64:
		switch id {
		case arrow.INT64, arrow.UINT64, arrow.TIMESTAMP, arrow.TIME64:
			return newFixed[int64](mem, rows)
		case arrow.DECIMAL128:
			return decimals[int64]{newFixed[int64](mem, rows), mem}
		}
	case parquet.Types.Float:
		if id == arrow.FLOAT32 {
			return newFixed[int32](mem, rows)
		}
	case parquet.Types.Double:
		if id == arrow.FLOAT64 {
			return newFixed[int64](mem, rows)
		}
	case parquet.Types.Boolean:
		if id == arrow.BOOL {
			return newBooleans(mem, rows)
		}
	case parquet.Types.ByteArray:
		if id == arrow.STRING || id == arrow.BINARY {
			return newTexts(mem, rows, textBytes(f, leaf))
		}
	}
	return nil
}

// textBytes is how many bytes the texts of a column have, roughly, and no more than a file of this size may have.
func textBytes(f File, leaf int) int64 {
	var size int64
	for g := range f.NumRowGroups() {
		if c, err := f.RowGroup(g).MetaData().ColumnChunk(leaf); err == nil {
			size += max(0, c.TotalUncompressedSize())
		}
	}
	return min(size, 16*int64(len(f.Data)))
}

// column is one that is being read.
type column struct {
	values
	mem      memory.Allocator
	optional bool // it may have NULLs, and so levels
	rows     int  // that it must have
	n        int  // that it has by now
	nulls    int
	valid    *memory.Buffer // which of them are not NULL; nil until the first one is

	known   bool   // there is a dictionary
	levels  hybrid // of the page
	numbers hybrid // of the page, in the dictionary
	some    [1024]uint32
}

// chunk reads the column's part of one group of rows.
func (c *column) chunk(f File, group, leaf int) error {
	r := f.RowGroup(group)
	m, err := r.MetaData().ColumnChunk(leaf)
	if err != nil {
		return err //nolint:wrapcheck // the caller does
	}
	if m.CryptoMetadata() != nil {
		return ErrUnfit
	}
	bytes, err := section(f.Data, m)
	if err != nil {
		return err
	}
	pages, err := file.NewPageReader(bytes, m.NumValues(), m.Compression(), memory.DefaultAllocator, nil)
	if err != nil {
		return err //nolint:wrapcheck // the caller does
	}
	c.known = false
	want := c.n + int(r.NumRows())
	for pages.Next() {
		if err := c.page(pages.Page()); err != nil {
			return err
		}
	}
	if err := pages.Err(); err != nil {
		return err //nolint:wrapcheck // the caller does
	}
	if c.n != want { // other groups may make up for it, with values of other rows
		return fmt.Errorf("row group %d ends after %d values, not %d", group+1, c.n, want)
	}
	return nil
}

// section returns the bytes of a column's chunk.
func section(data []byte, m *metadata.ColumnChunkMetaData) (*window, error) {
	start := m.DataPageOffset()
	if at := m.DictionaryPageOffset(); m.HasDictionaryPage() && at > 0 && at < start {
		start = at
	}
	size := m.TotalCompressedSize()
	if start < 0 || size < 0 || start > int64(len(data)) || size > int64(len(data))-start {
		return nil, fmt.Errorf("%d bytes at %d are not in the file", size, start)
	}
	return &window{data[start : start+size]}, nil
}

func (c *column) page(p file.Page) error {
	data, n := p.Data(), int(p.NumValues())
	switch p := p.(type) {
	case *file.DictionaryPage:
		if e := parquet.Encoding(p.Encoding()); e != parquet.Encodings.Plain && e != parquet.Encodings.PlainDict {
			return ErrUnfit
		}
		if c.known {
			return errDamaged
		}
		c.known = true
		return c.dictionary(data, n)
	case *file.DataPageV1:
		if !c.optional {
			return c.add(data, n, parquet.Encoding(p.Encoding()))
		}
		if p.DefinitionLevelEncoding() != parquet.Encodings.RLE {
			return ErrUnfit
		}
		if len(data) < 4 {
			return errDamaged
		}
		size := int64(binary.LittleEndian.Uint32(data))
		return c.addLevelled(data[4:], size, n, parquet.Encoding(p.Encoding()))
	case *file.DataPageV2:
		if skip := int(p.RepetitionLevelByteLen()); skip <= len(data) {
			return c.addLevelled(data[skip:], int64(p.DefinitionLevelByteLen()), n, parquet.Encoding(p.Encoding()))
		}
		return errDamaged
	}
	return nil
}

// addLevelled adds a page whose levels have so many bytes in front of its values.
func (c *column) addLevelled(data []byte, size int64, n int, e parquet.Encoding) error {
	if size > int64(len(data)) {
		return errDamaged
	}
	c.levels.reset(data[:size], 1)
	return c.add(data[size:], n, e)
}

// add adds n values, NULLs included.
func (c *column) add(data []byte, n int, e parquet.Encoding) error {
	if n > c.rows-c.n {
		return fmt.Errorf("there are more values than %d rows", c.rows)
	}
	take := c.plain
	switch e {
	case parquet.Encodings.Plain:
		c.values.page(data)
	case parquet.Encodings.PlainDict, parquet.Encodings.RLEDict:
		if err := c.begin(data); err != nil {
			return err
		}
		take = c.take
	default:
		return ErrUnfit
	}
	for n > 0 {
		valid, same := uint32(1), n
		if c.optional {
			var err error
			if valid, same, err = c.levels.same(n); err != nil {
				return err
			}
		}
		if err := c.run(valid, same, take); err != nil {
			return err
		}
		n -= same
	}
	return nil
}

// begin begins a page of numbers in the dictionary.
func (c *column) begin(data []byte) error {
	width := byte(0)
	if len(data) > 0 { // else all of its values are NULL
		width, data = data[0], data[1:]
	}
	if !c.known || width > 32 {
		return errDamaged
	}
	c.numbers.reset(data, uint(width))
	return nil
}

// run adds n values, or NULLs.
func (c *column) run(valid uint32, n int, take func(int) error) error {
	switch valid {
	case 0:
		c.mark(n, false)
		c.null(n)
	case 1:
		c.mark(n, true)
		if err := take(n); err != nil {
			return err
		}
	default:
		return errDamaged
	}
	c.n += n
	return nil
}

// take adds n values by their numbers.
func (c *column) take(n int) error {
	for n > 0 {
		some := c.some[:min(n, len(c.some))]
		if err := c.numbers.fill(some); err != nil {
			return err
		}
		if err := c.indexed(some); err != nil {
			return err
		}
		n -= len(some)
	}
	return nil
}

// mark says that n values to come are NULL, or not.
func (c *column) mark(n int, valid bool) {
	if !valid {
		c.nulls += n
	}
	if c.valid == nil {
		if valid {
			return
		}
		c.valid = reserved(c.mem, min(c.rows, firstRows)/8+1)
		growBits(c.valid, c.n)
		bitutil.SetBitsTo(c.valid.Bytes(), 0, int64(c.n), true)
	}
	growBits(c.valid, c.n+n)
	if valid {
		bitutil.SetBitsTo(c.valid.Bytes(), int64(c.n), int64(n), true)
	}
}

func (c *column) release() {
	c.values.release()
	if c.valid != nil {
		c.valid.Release()
	}
}

// array hands the values over.
func (c *column) array(dt arrow.DataType) arrow.Array {
	buffers := append([]*memory.Buffer{c.valid}, c.buffers()...)
	data := array.NewData(dt, c.n, buffers, nil, c.nulls, 0)
	defer data.Release()
	for _, b := range buffers {
		if b != nil {
			b.Release() // data retains it
		}
	}
	return array.MakeFromData(data)
}
