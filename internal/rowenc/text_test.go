package rowenc

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

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

func TestPaddedNumbers(t *testing.T) {
	t.Parallel()
	for width := 1; width <= 9; width++ {
		for _, v := range []int64{0, 1, 9, 10, 12, 99, 100, 2026, 9999, 10_000, 123_456, 999_999, 1_000_000, 999_999_999, 1 << 32, 1<<32 + 7, math.MaxInt64} {
			require.Equal(t, fmt.Sprintf("%0*d", width, v), string(appendPadded([]byte("x"), v, width)[1:]))
		}
	}
}

// TestTimestampText compares the short way of writing timestamps with the library's, over all years of four digits.
func TestTimestampText(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that repeats
	first, last := time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro(), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC).UnixMicro()
	at := []int64{first, last, 0, -1, 951_782_400_000_000, 951_868_799_999_999}
	for range 20_000 {
		at = append(at, first+random.Int64N(last-first+1))
	}
	for _, v := range at {
		require.Equal(t, time.UnixMicro(v).UTC().Format("2006-01-02T15:04:05.000000"), string(appendTimestamp(nil, v, 1e6, false)))
	}
	require.Equal(t, "10000-01-01T00:00:00.000000Z", string(appendTimestamp(nil, last+1, 1e6, true)))
	require.Equal(t, "-0001-12-31T23:59:59.999999", string(appendTimestamp(nil, first-1, 1e6, false)))
}
