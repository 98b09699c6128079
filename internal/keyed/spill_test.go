package keyed

import (
	"os"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/spill"
)

// TestFullDisk lets the disk be full at each place where a store asks for room: the batch fails with what the system said,
// rolls back to what there was, and goes through once there is room. What a frozen store has to keep is never refused.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	schema := schemaOf(arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String)
	for room := range 3 {
		left := room
		s := open(t, Options{Schema: schema, Keys: 1, Memory: spill.New(spill.Options{Dir: t.TempDir(), Least: -1, Room: -1,
			Reserve: func(f *os.File, size int64) error {
				if left--; left < 0 {
					return syscall.ENOSPC
				}
				return f.Truncate(size)
			}})})
		full := false
		for batch := int64(0); batch < 12; {
			before := len(keyOrder(s))
			frozen := s.Freeze(true)
			s.Begin()
			err := s.Put(wideRows(schema, batch))
			if err == nil {
				s.Commit()
				requireRows(t, before, frozen)
				batch++
				continue
			}
			require.ErrorIs(t, err, syscall.ENOSPC)
			s.Rollback()
			checkAccounts(t, s)
			require.Len(t, keyOrder(s), before)
			requireRows(t, before, frozen)
			full, left = true, 100
		}
		require.True(t, full, "the disk was large enough")
		require.Equal(t, 6_500, s.Len())
	}
}

// requireRows reads what was frozen and closes it.
func requireRows(t *testing.T, want int, f *Frozen) {
	t.Helper()
	n := 0
	for rec := range f.Rows() {
		n += int(rec.NumRows())
		rec.Release()
	}
	f.Close()
	require.Equal(t, want, n)
}

// wideRows are 1,000 rows, half of which the batch before has put too, otherwise.
func wideRows(schema *arrow.Schema, batch int64) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	text := string(make([]byte, 200+batch))
	for i := range int64(1000) {
		b.Field(0).(*array.Int64Builder).Append(batch*500 + i)
		b.Field(1).(*array.StringBuilder).Append(text)
	}
	return b.NewRecord()
}
