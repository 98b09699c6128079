package wal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/wal"
)

// FuzzOpen opens any bytes as a segment: it gives entries or says that it is damaged, and what it gave once
// it gives again, with an entry more when one was added.
func FuzzOpen(f *testing.F) {
	m := vfs.NewMem()
	l, _, err := wal.Open(options(m))
	require.NoError(f, err)
	_, err = l.Append(entry(1), entry(2))
	require.NoError(f, err)
	require.NoError(f, l.Sync())
	_, err = l.Append(entry(3))
	require.NoError(f, err)
	const path = dir + "/wal-0000000000000001.log"
	data, err := vfs.ReadFile(m, path)
	require.NoError(f, err)
	f.Add(data, 0, uint8(0))
	f.Add(data[:len(data)-9], 0, uint8(0))
	f.Add(data, 300, uint8(255))
	f.Add(append(data[:64:64], make([]byte, 600)...), 80, uint8(7))
	f.Add([]byte{}, 0, uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, at int, flip uint8) {
		if at >= 0 && at < len(data) {
			data[at] ^= flip
		}
		m := vfs.NewMem()
		require.NoError(t, m.MkdirAll(dir))
		require.NoError(t, vfs.WriteFile(m, path, data))
		_, verified := wal.Verify(m, dir)
		l, r, err := wal.Open(options(m))
		if err != nil {
			var d *diag.Error
			require.ErrorAs(t, err, &d)
			require.True(t, d.Code == diag.LogCorrupt || d.Code == diag.CheckpointUnusable)
			return
		}
		require.NoError(t, verified)
		got := readAll(t, l)
		require.Len(t, got, r.Entries)
		p, err := l.Append(entry(9))
		require.NoError(t, err)
		require.Equal(t, r.Last+1, p)
		require.NoError(t, l.Close())
		l, r, err = wal.Open(options(m.Crash(0, 1)))
		require.NoError(t, err)
		require.Nil(t, r.Torn)
		require.Equal(t, append(got, entry(9)), readAll(t, l))
	})
}
