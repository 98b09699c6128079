package keyed

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
)

func openDuck(t testing.TB) *duck.Conn {
	t.Helper()
	return ducktest.Conn(t, duck.Options{Threads: 1})
}

// requireSameEquality takes a record of two columns of one type: a value of the left and one of the right are
// one key if and only if DuckDB does not tell them apart.
func requireSameEquality(t *testing.T, c *duck.Conn, rec arrow.Record) {
	t.Helper()
	require.NoError(t, c.Import(t.Context(), "pairs", "", []arrow.Record{rec}, rec.Schema()))
	rows, err := c.Rows(t.Context(), "SELECT c0 IS NOT DISTINCT FROM c1 FROM pairs")
	require.NoError(t, err)
	require.Len(t, rows, int(rec.NumRows()))
	left, right := encodeKeys(t, rec, 0), encodeKeys(t, rec, 1)
	for r := range rows {
		require.Equal(t, rows[r][0], left[r] == right[r], "%s: %s and %s", rec.Column(0).DataType(),
			text(rec.Column(0), r, false), text(rec.Column(1), r, false))
	}
}

// encodeKeys returns what the store compares for a column.
func encodeKeys(t *testing.T, rec arrow.Record, column int) []string {
	t.Helper()
	schema := schemaOf(rec.Column(column).DataType())
	l, err := newLayout(Options{Schema: schema, Keys: 1})
	require.NoError(t, err)
	one := array.NewRecord(schema, []arrow.Array{rec.Column(column)}, rec.NumRows())
	var e encoded
	require.NoError(t, l.encode(&e, one, false))
	out := make([]string, e.rows)
	for r := range out {
		fixed, blob := e.key(r, l)
		out[r] = fmt.Sprintf("%x %x", fixed, blob)
	}
	return out
}

func TestKeysAreEqualAsInDuckDB(t *testing.T) {
	t.Parallel()
	c := openDuck(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range allTypes() {
		requireSameEquality(t, c, randomRecord(schemaOf(typ, typ), 3000, rng.IntN))
	}
}

// FuzzKeyEquality makes a type and pairs of values out of its input.
func FuzzKeyEquality(f *testing.F) {
	for i := range len(allTypes()) {
		f.Add(byte(i), []byte{1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2})
	}
	c := openDuck(f)
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		types := allTypes()
		typ := types[int(kind)%len(types)]
		next := func(n int) int {
			if len(data) == 0 {
				return n - 1
			}
			v := int(data[0]) % n
			data = data[1:]
			return v
		}
		requireSameEquality(t, c, randomRecord(schemaOf(typ, typ), 1+len(data)/8, next))
	})
}
