package wal_test

import (
	"encoding/hex"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/wal"
)

func golden(t *testing.T, name, got string) {
	t.Helper()
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		require.NoError(t, os.WriteFile(name, []byte(got), 0o600))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestFileProtocol holds the order of every call that changes the disk fixed.
func TestFileProtocol(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	fsys := vfs.NewLogged(m, dir)
	var b strings.Builder
	step := func(name string, err error) {
		t.Helper()
		require.NoError(t, err)
		b.WriteString("# " + name + "\n")
		for _, line := range fsys.Changes() {
			b.WriteString(line + "\n")
		}
		fsys.Reset()
	}
	o := options(fsys)
	o.MinSegments = 1
	l, _, err := wal.Open(o)
	step("open a new log", err)
	_, err = l.Append(entry(1), entry(2))
	step("append", err)
	step("sync", l.Sync())
	step("sync again", l.Sync())
	_, err = l.Append(entry(3))
	step("append", err)
	step("rotate, one frame not yet synced", l.Rotate(entry(4)))
	_, err = l.Trim(3)
	step("trim", err)
	step("close", l.Close())
	l, _, err = wal.Open(o)
	step("open after a clean stop", err)
	_, err = l.Append(entry(5))
	step("append", err)
	step("sync", l.Sync())
	_, _, err = wal.Open(o)
	step("open after a kill", err)
	file, err := m.Append(dir + "/wal-0000000000000003.log")
	require.NoError(t, err)
	_, err = file.Write([]byte("torn"))
	require.NoError(t, err)
	_, _, err = wal.Open(o)
	step("open with a torn tail", err)
	golden(t, "testdata/fslog/log.txt", b.String())
}

// TestFormat1 keeps logs readable that were written in format 1. Its file never changes.
func TestFormat1(t *testing.T) {
	t.Parallel()
	const name = "testdata/format-v1/wal-0000000000000001.log.hex"
	m := vfs.NewMem()
	l, _ := open(t, m)
	want := []wal.Entry{
		{Type: 1, Batch: 7, Payload: []byte(`{"epoch":1}`)},
		{Type: 2, Batch: -1, Payload: []byte{}},
		{Type: 255, Batch: 1 << 62, Payload: []byte(`{"batch":8}`)},
	}
	_, err := l.Append(want[0], want[1])
	require.NoError(t, err)
	require.NoError(t, l.Sync())
	_, err = l.Append(want[2])
	require.NoError(t, err)
	require.NoError(t, l.Close())
	written := files(t, m)["wal-0000000000000001.log"]
	var dump strings.Builder
	for rest := []byte(written); len(rest) > 0; rest = rest[min(16, len(rest)):] {
		dump.WriteString(hex.EncodeToString(rest[:min(16, len(rest))]) + "\n")
	}
	golden(t, name, dump.String())

	text, err := os.ReadFile(name)
	require.NoError(t, err)
	data, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	require.NoError(t, err)
	m = refill(t, map[string]string{"wal-0000000000000001.log": string(data)})
	l, r := open(t, m)
	require.Equal(t, &wal.Recovery{Entries: 3, Last: 3}, r)
	require.Equal(t, want, readAll(t, l))
}
