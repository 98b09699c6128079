package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/wal"
)

const dir = "/q/log"

func logID() [16]byte { return [16]byte([]byte("the-query's-uuid")) }

func options(fsys vfs.FS) wal.Options {
	return wal.Options{FS: fsys, Dir: dir, ID: logID()}
}

func open(t *testing.T, fsys vfs.FS) (*wal.Log, *wal.Recovery) {
	t.Helper()
	l, r, err := wal.Open(options(fsys))
	require.NoError(t, err)
	return l, r
}

// entry returns an entry that says which one it is, of a length that varies.
func entry(i int) wal.Entry {
	text := fmt.Sprintf(`{"batch":%d,"fill":"%s"}`, i, strings.Repeat("x", i*37%211))
	return wal.Entry{Type: uint8(i%5 + 1), Batch: int64(i), Payload: []byte(text)}
}

func reader(into *[]wal.Entry) func(wal.Position, wal.Entry) error {
	return func(_ wal.Position, e wal.Entry) error {
		*into = append(*into, e)
		return nil
	}
}

func readAll(t *testing.T, l *wal.Log) []wal.Entry {
	t.Helper()
	var got []wal.Entry
	require.NoError(t, l.Read(0, reader(&got)))
	return got
}

func TestAppendReadReopen(t *testing.T) {
	t.Parallel()
	for name, fsys := range map[string]vfs.FS{"mem": vfs.NewMem(), "os": vfs.OS{}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := options(fsys)
			o.Dir = filepath.Join(t.TempDir(), "log")
			l, r, err := wal.Open(o)
			require.NoError(t, err)
			require.Equal(t, &wal.Recovery{}, r)
			p, err := l.Append(entry(1))
			require.NoError(t, err)
			require.EqualValues(t, 1, p)
			p, err = l.Append(entry(2), wal.Entry{}, entry(3))
			require.NoError(t, err)
			require.EqualValues(t, 2, p)
			require.NoError(t, l.Sync())
			want := []wal.Entry{entry(1), entry(2), {Payload: []byte{}}, entry(3)}
			require.Equal(t, want, readAll(t, l))
			require.NoError(t, l.Close())
			require.NoError(t, l.Close())
			_, err = l.Append(entry(1))
			require.ErrorIs(t, err, fs.ErrClosed)

			for range 3 {
				l, r, err = wal.Open(o)
				require.NoError(t, err)
				require.Equal(t, &wal.Recovery{Entries: 4, Last: 3}, r, "opening and closing adds nothing")
				require.Equal(t, want, readAll(t, l))
				require.NoError(t, l.Close())
			}
			l, _, err = wal.Open(o)
			require.NoError(t, err)
			p, err = l.Append(entry(4))
			require.NoError(t, err)
			require.EqualValues(t, 4, p)
			var got []wal.Entry
			require.NoError(t, l.Read(p, reader(&got)))
			require.Equal(t, []wal.Entry{entry(4)}, got)
			require.NoError(t, l.Close())
		})
	}
}

func TestRotateAndTrim(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	o := options(m)
	o.SegmentBytes, o.MinSegments = 300, 2
	l, _, err := wal.Open(o)
	require.NoError(t, err)
	require.NoError(t, l.Rotate(), "an empty segment is kept")
	require.NoError(t, l.Rotate(entry(0)))
	for i := 1; i < 20; i++ {
		_, err = l.Append(entry(i))
		require.NoError(t, err)
		if l.Full() {
			require.NoError(t, l.Rotate(entry(100+i)))
			require.Less(t, l.SegmentSize(), int64(500))
		}
	}
	all := readAll(t, l)
	report, err := wal.Verify(m, dir)
	require.NoError(t, err)
	require.Len(t, all, report.Entries)
	require.Equal(t, l.Size(), report.Bytes)
	require.Equal(t, logID(), report.ID)
	require.Greater(t, len(report.Segments), 5)

	n, err := l.Trim(report.Segments[3].First - 1)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = l.Trim(report.Segments[3].First)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	rest := readAll(t, l)
	require.Equal(t, all[len(all)-len(rest):], rest)
	_, err = l.Trim(1 << 60)
	require.NoError(t, err)
	report, err = wal.Verify(m, dir)
	require.NoError(t, err)
	require.Len(t, report.Segments, 2)
	rest = readAll(t, l)
	require.NoError(t, l.Close())

	l, r, err := wal.Open(o)
	require.NoError(t, err)
	require.Equal(t, rest, readAll(t, l))
	require.Equal(t, len(rest), r.Entries)
	require.NoError(t, l.Close())
}

func TestRefusedCallsLeaveTheLogUsable(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	o := options(m)
	o.FrameBytesMax = 1000
	l, _, err := wal.Open(o)
	require.NoError(t, err)
	long := wal.Entry{Payload: bytes.Repeat([]byte("x"), 1000)}
	_, err = l.Append(long)
	require.ErrorContains(t, err, "too long")
	require.ErrorContains(t, l.Rotate(long), "too long")
	_, err = l.Append()
	require.ErrorContains(t, err, "no entries")
	_, err = l.Append(entry(1))
	require.NoError(t, err)
	stop := errors.New("stop")
	require.ErrorIs(t, l.Read(0, func(wal.Position, wal.Entry) error { return stop }), stop)
	require.NoError(t, l.Close())
	require.ErrorIs(t, wal.Scan(m, dir, func(wal.Position, wal.Entry) error { return stop }), stop)
}

func TestOptionsInvalid(t *testing.T) {
	t.Parallel()
	_, _, err := wal.Open(wal.Options{MinSegments: -1, FrameBytesMax: wal.FrameBytesMax + 1})
	for _, part := range []string{"file system", "directory", "negative", "268435456"} {
		require.ErrorContains(t, err, part)
	}
}

func TestOtherIDRefused(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	l, _ := open(t, m)
	require.NoError(t, l.Close())
	o := options(m)
	o.ID[0]++
	_, _, err := wal.Open(o)
	require.Equal(t, diag.CheckpointUnusable, diag.CodeOf(err))
	require.ErrorContains(t, err, "belongs to query 7468652d-7175-")
}

func TestReadersWithoutLock(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	var got []wal.Entry
	require.ErrorIs(t, wal.Scan(m, dir, reader(&got)), fs.ErrNotExist)
	require.NoError(t, m.MkdirAll(dir))
	require.ErrorIs(t, wal.Scan(m, dir, reader(&got)), fs.ErrNotExist)
	_, err := wal.Verify(m, dir)
	require.ErrorIs(t, err, fs.ErrNotExist)

	l, _ := open(t, m)
	_, err = l.Append(entry(1))
	require.NoError(t, err)
	before := m.Crash(1, 1)
	require.NoError(t, wal.Scan(m, dir, reader(&got)))
	require.Equal(t, []wal.Entry{entry(1)}, got, "beside the owner, and not yet synced")
	_, err = wal.Verify(m, dir)
	require.NoError(t, err)
	require.Equal(t, files(t, before), files(t, m), "nothing was changed")
	require.NoError(t, l.Close())
}

// files returns all bytes below the directory of the log.
func files(t *testing.T, fsys vfs.FS) map[string]string {
	t.Helper()
	names, err := fsys.List(dir)
	require.NoError(t, err)
	all := map[string]string{}
	for _, name := range names {
		data, err := vfs.ReadFile(fsys, filepath.Join(dir, name))
		require.NoError(t, err)
		all[name] = string(data)
	}
	return all
}

func BenchmarkAppendSync(b *testing.B) {
	l, _, err := wal.Open(wal.Options{FS: vfs.OS{}, Dir: b.TempDir(), ID: logID()})
	require.NoError(b, err)
	e := wal.Entry{Type: 1, Batch: 1, Payload: bytes.Repeat([]byte("x"), 300)}
	b.SetBytes(int64(len(e.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Append(e, e); err != nil {
			b.Fatal(err)
		}
		if err := l.Sync(); err != nil {
			b.Fatal(err)
		}
		if l.Full() {
			require.NoError(b, l.Rotate(e))
		}
	}
	require.NoError(b, l.Close())
}

func BenchmarkOpen16MiB(b *testing.B) {
	o := wal.Options{FS: vfs.OS{}, Dir: b.TempDir(), ID: logID()}
	l, _, err := wal.Open(o)
	require.NoError(b, err)
	e := wal.Entry{Type: 1, Batch: 1, Payload: bytes.Repeat([]byte("x"), 600)}
	for !l.Full() {
		_, err := l.Append(e)
		require.NoError(b, err)
	}
	require.NoError(b, l.Close())
	b.SetBytes(l.Size())
	for b.Loop() {
		l, _, err := wal.Open(o)
		require.NoError(b, err)
		require.NoError(b, l.Close())
	}
}
