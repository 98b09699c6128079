package wal

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzBody reads any bytes as the body of a frame whose checksum holds.
func FuzzBody(f *testing.F) {
	id := [16]byte{1}
	b, _ := appendFrame(nil, id, frameHead{seq: 3, durable: 2}, []Entry{{1, 2, []byte("three")}, {4, 5, nil}})
	f.Add(b[frameHeadBytes:], uint32(2))
	f.Add(b[frameHeadBytes:], uint32(1<<31))
	f.Add([]byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, body []byte, count uint32) {
		entries, err := parseBody(body, count)
		if err != nil || len(body)%alignBytes != 0 {
			return
		}
		require.Len(t, entries, int(count))
		b, _ := appendFrame(nil, id, frameHead{}, entries)
		require.Equal(t, string(body), string(b[frameHeadBytes:]), "only one way to write it")
		require.EqualValues(t, len(b), frameBytes(entries))
	})
}

func TestLooksLost(t *testing.T) {
	t.Parallel()
	full := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = 1
		}
		return b
	}
	require.False(t, looksLost(full(2000), 100))
	b := full(2000)
	clear(b[412:924]) // the second sector of the file
	require.True(t, looksLost(b, 100))
	b[500] = 1
	require.False(t, looksLost(b, 100))
	b = full(2000)
	clear(b[1992:])
	require.True(t, looksLost(b, 100), "the end")
	b = full(2000)
	clear(b[:12])
	require.True(t, looksLost(b, 500), "the part in the first sector")
	require.False(t, looksLost(b, 499))
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"wal-1.log", "wal-00000000000000FF.log", "wal-00000000000000ff.log.torn", "x-00000000000000ff.log",
		"wal-+0000000000000ff.log", "wal-00000000000000ff.log.tmp", "",
	} {
		_, ok := parseName(name)
		require.False(t, ok, name)
	}
	first, ok := parseName("wal-00000000000000ff.log")
	require.True(t, ok)
	require.EqualValues(t, 255, first)
}
