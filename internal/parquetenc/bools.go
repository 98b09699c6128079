package parquetenc

import (
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/metadata"
)

// bools are values of one bit each.
type bools struct {
	no, yes bool // which have come
	page    []uint8
}

func (b *bools) begin() { *b = bools{page: b.page[:0]} }

func (*bools) size(s *slots) int { return s.values() }

func (b *bools) add(s *slots) {
	leaf := s.leaf.(*array.Boolean) //nolint:forcetypeassert // made for this type
	one := func(i int) {
		if leaf.Value(i) {
			b.yes, b.page = true, append(b.page, 1)
			return
		}
		b.no, b.page = true, append(b.page, 0)
	}
	if s.some {
		for _, i := range s.at {
			one(int(i))
		}
		return
	}
	for i := s.from; i < s.to; i++ {
		one(i)
	}
}

func (b *bools) bytes() int { return len(b.page) }

func (b *bools) take(dst []byte) ([]byte, parquet.Encoding) {
	dst = appendPacked(dst, b.page, 1)
	b.page = b.page[:0]
	return dst, parquet.Encodings.Plain
}

func (*bools) dictionary() (plain []byte, entries int) { return nil, 0 }

func (b *bools) bounds(to *metadata.EncodedStatistics) {
	bit := func(v bool) []byte {
		if v {
			return []byte{1}
		}
		return []byte{0}
	}
	if b.no || b.yes {
		to.SetMin(bit(!b.no)).SetMax(bit(b.yes))
	}
}
