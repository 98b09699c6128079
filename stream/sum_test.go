package stream

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(rng *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	return data
}

func TestCombine(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	data := random(rng, 5000)
	for range 500 {
		i, j := rng.IntN(len(data)+1), rng.IntN(len(data)+1)
		i, j = min(i, j), max(i, j)
		got := Combine(crc32.Checksum(data[:i], castagnoli()), crc32.Checksum(data[i:j], castagnoli()), j-i)
		require.Equal(t, crc32.Checksum(data[:j], castagnoli()), got)
	}
}

// TestSums asks that the sum of messages is the checksum that Input describes, however it is put together.
func TestSums(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	var m Messages
	for i := range 200 {
		m.Append(uint64(i)*uint64(rng.Uint32()), random(rng, rng.IntN(300)))
	}
	defined := func(from, to int) Sum {
		var all bytes.Buffer
		for i := from; i < to; i++ {
			_ = binary.Write(&all, binary.LittleEndian, m.Sequence[i])
			all.Write(m.Payload(i))
		}
		return Sum(crc32.Checksum(all.Bytes(), castagnoli()))
	}
	require.Equal(t, defined(0, 200), Sum(0).Messages(&m))
	require.Equal(t, Sum(0), Sum(0).Messages(nil))
	prefixes, summed := []Sum{0}, Sum(0)
	for i := range m.Len() {
		prefixes = append(prefixes, prefixes[i].Message(m.Sequence[i], m.Payload(i)))
		summed = summed.Summed(m.Sequence[i], crc32.Checksum(m.Payload(i), castagnoli()), len(m.Payload(i)))
		require.Equal(t, prefixes[i+1], summed)
	}
	ends := append([]int{0}, m.Ends...)
	for range 200 {
		i, j := rng.IntN(201), rng.IntN(201)
		i, j = min(i, j), max(i, j)
		run := prefixes[j].Since(prefixes[i], j-i, ends[j]-ends[i])
		require.Equal(t, defined(i, j), run)
		require.Equal(t, prefixes[j], prefixes[i].Run(run, j-i, ends[j]-ends[i]))
	}
}
