package parquetenc

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// stepRows is most rows that go to a page before its length is looked at.
const stepRows = 4096

// column is the open chunk of one leaf.
type column struct {
	leaf
	maxDef, maxRep uint8
	values         values
	codec          compress.Codec // nil for none
	pageBytes      int

	slots    slots
	def, rep []uint8 // levels of the open page
	step     int     // rows that go to the page at a time
	count    int     // slots of the open page
	absent   int64   // slots of the chunk that have no value
	pages    []page
	spare    [][]byte // memory of pages that were written
}

// page is a data page that waits for its row group to end.
type page struct {
	data     []byte
	count    int
	encoding parquet.Encoding
	size     int // before it was compressed
}

func newColumn(l leaf, d *schema.Column, codec compress.Codec, size limits) (*column, error) {
	v, err := newValues(l.typ, size)
	if err != nil {
		return nil, err
	}
	if d.MaxDefinitionLevel() > math.MaxUint8 {
		return nil, fmt.Errorf("column %s is nested %d levels deep", d.Path(), d.MaxDefinitionLevel())
	}
	v.begin()
	return &column{leaf: l, maxDef: uint8(d.MaxDefinitionLevel()), maxRep: uint8(d.MaxRepetitionLevel()), values: v, codec: codec, step: 1, pageBytes: size.pageBytes}, nil //nolint:gosec // looked at above
}

// add appends the rows [from, to) of the field that the leaf is below. It has the memory of raw, like all that end pages.
func (c *column) add(a arrow.Array, from, to int, raw *[]byte) error {
	for from < to {
		end := min(from+c.step, to)
		if err := c.slots.find(c.way, a, from, end); err != nil {
			return err
		}
		size := c.values.size(&c.slots)
		if size > c.pageBytes && end-from > 1 {
			c.step = (end - from) / 2
			continue
		}
		if 2*size <= c.pageBytes {
			c.step = min(2*c.step, stepRows)
		}
		c.levels(&c.slots)
		c.values.add(&c.slots)
		if c.values.bytes() >= c.pageBytes || len(c.def) >= c.pageBytes {
			if err := c.endPage(raw); err != nil {
				return err
			}
		}
		from = end
	}
	c.slots.leaf = nil // the record's
	return nil
}

// levels appends those of s to the open page's.
func (c *column) levels(s *slots) {
	n := s.count()
	c.count += n
	c.absent += int64(n - s.values())
	if s.def != nil {
		c.def = append(c.def, s.def...)
	} else {
		c.def = slices.Grow(c.def, n)[:len(c.def)+n]
		fill(c.def[len(c.def)-n:], c.maxDef)
	}
	c.rep = append(c.rep, s.rep...)
}

func fill(levels []uint8, level uint8) {
	for i := range levels {
		levels[i] = level
	}
}

// endPage compresses the open page, which is put together in scratch, and begins the next.
func (c *column) endPage(scratch *[]byte) error {
	raw := (*scratch)[:0]
	if c.maxRep > 0 {
		raw = appendLevels(raw, c.rep, c.maxRep)
	}
	if c.maxDef > 0 {
		raw = appendLevels(raw, c.def, c.maxDef)
	}
	raw, encoding := c.values.take(raw)
	if len(raw) > math.MaxInt32 {
		return fmt.Errorf("column %d: a page of %d bytes is longer than the format allows", c.field+1, len(raw))
	}
	*scratch = raw
	c.pages = append(c.pages, page{data: c.compress(raw), count: c.count, encoding: encoding, size: len(raw)})
	c.def, c.rep, c.count = c.def[:0], c.rep[:0], 0
	return nil
}

// appendLevels appends the levels of a page behind their length.
func appendLevels(dst []byte, levels []uint8, most uint8) []byte {
	at := len(dst)
	dst = appendHybrid(append(dst, 0, 0, 0, 0), levels, widthOf(uint32(most)))
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4)) //nolint:gosec // a page has fewer
	return dst
}

// compress returns a page's bytes as they are written, in memory of their own.
func (c *column) compress(raw []byte) []byte {
	var dst []byte
	if n := len(c.spare); n > 0 {
		dst, c.spare = c.spare[n-1], c.spare[:n-1]
	}
	if c.codec == nil {
		return append(dst[:0], raw...)
	}
	bound := int(c.codec.CompressBound(int64(len(raw))))
	dst = slices.Grow(dst[:0], bound)
	return c.codec.Encode(dst[:bound], raw)
}

// end writes the chunk, and begins the next.
func (c *column) end(to file.PageWriter, meta *metadata.ColumnChunkMetaDataBuilder, raw *[]byte) error {
	if c.count > 0 {
		if err := c.endPage(raw); err != nil {
			return err
		}
	}
	plain, entries := c.values.dictionary()
	if entries > 0 {
		dictionary := file.NewDictionaryPage(memory.NewBufferBytes(plain), int32(entries), parquet.Encodings.Plain) //nolint:gosec // a dictionary is small
		if _, err := to.WriteDictionaryPage(dictionary); err != nil {
			return err //nolint:wrapcheck // the writer says what it does
		}
	}
	mixed := false
	for _, p := range c.pages {
		mixed = mixed || entries > 0 && p.encoding == parquet.Encodings.Plain
		data := file.NewDataPageV1(memory.NewBufferBytes(p.data), int32(p.count), p.encoding, //nolint:gosec // a page has fewer
			parquet.Encodings.RLE, parquet.Encodings.RLE, int32(p.size)) //nolint:gosec // endPage has looked
		if _, err := to.WriteDataPage(data); err != nil {
			return err //nolint:wrapcheck // the writer says what it does
		}
		c.spare = append(c.spare, p.data)
	}
	meta.SetStats(c.statistics(meta.Descr()))
	c.pages, c.absent = c.pages[:0], 0
	c.values.begin()
	return to.Close(entries > 0, mixed) //nolint:wrapcheck // the writer says what it does
}

func (c *column) statistics(d *schema.Column) metadata.EncodedStatistics {
	var s metadata.EncodedStatistics
	s.SetNullCount(c.absent)
	c.values.bounds(&s)
	s.Signed = d.SortOrder() == schema.SortSIGNED
	return s
}
