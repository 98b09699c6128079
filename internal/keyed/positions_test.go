package keyed

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/spill"
)

// TestPositions adds rows in parts and finds them by either key, in memory and in files, beside maps; many have the same hash, and
// others the same bucket.
func TestPositions(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]*spill.Pool{"in memory": nil, "spilled": spilling(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(4, 4))
			p := NewPositions(2, memory)
			defer func() {
				p.Close()
				require.Zero(t, memory.Spilled()+memory.Resident())
			}()
			rows, ok := p.Find(0, 1, 0)
			require.True(t, ok)
			require.Empty(t, rows)
			want := [2]map[uint64][]int64{{}, {}}
			next := int64(100)
			for _, n := range []int{1, 0, 700, vectorLeast, 5_000} {
				at, hashes := make([]int64, n), [][]uint64{make([]uint64, n), make([]uint64, n)}
				for i := range at {
					next += 1 + rng.Int64N(3)
					at[i], hashes[0][i], hashes[1][i] = next, rng.Uint64N(300)<<32|rng.Uint64N(2), rng.Uint64()
					for k := range want {
						want[k][hashes[k][i]] = append(want[k][hashes[k][i]], next)
					}
				}
				require.NoError(t, p.Add(at, hashes))
			}
			for k := range want {
				for hash, at := range want[k] {
					rows, ok := p.Find(k, hash, p.Len())
					require.True(t, ok)
					var got []int64
					for _, row := range rows {
						require.Equal(t, hash, p.Hash(k, row))
						got = append(got, p.At(row))
					}
					slices.Reverse(got)
					require.Equal(t, at, got)
					_, ok = p.Find(k, hash, len(at)-1)
					require.False(t, ok, "more rows than were allowed")
				}
			}
			require.Positive(t, p.Bytes())
		})
	}
}
