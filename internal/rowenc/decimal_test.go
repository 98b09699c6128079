package rowenc

import (
	"math"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestDecimalText compares the short way of writing decimals with the library's, at the edges of 64 bits and beyond.
func TestDecimalText(t *testing.T) {
	t.Parallel()
	values := []decimal128.Num{decimal128.FromI64(math.MaxInt64).Add(decimal128.FromI64(1)),
		decimal128.FromI64(math.MinInt64).Sub(decimal128.FromI64(1))}
	for _, v := range []int64{0, 1, -1, 9, -9, 10, 99, -99, 100, 12345, -12345, math.MaxInt64, math.MinInt64, math.MinInt64 + 1} {
		values = append(values, decimal128.FromI64(v))
	}
	for _, scale := range []int32{1, 2, 3, 10, 18, 19, 20, 38} {
		b := array.NewDecimal128Builder(memory.DefaultAllocator, &arrow.Decimal128Type{Precision: 38, Scale: scale})
		b.AppendValues(values, nil)
		a := b.NewDecimal128Array()
		b.Release()
		c := decimal128Cell(a)
		for i, v := range values {
			require.Equal(t, v.ToString(scale), string(c.put(nil, i)), "scale %d", scale)
		}
		a.Release()
	}
}
