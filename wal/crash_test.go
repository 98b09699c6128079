package wal_test

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/wal"
)

// history is what a workload has asked of a log, in order, and how much of it was acknowledged.
type history struct {
	wrote    []wal.Entry
	acked    int // of wrote
	trimmed  int // of wrote, those that may be gone
	position map[int]wal.Position
}

// write appends entries as one frame.
func (h *history) write(l *wal.Log, entries ...wal.Entry) error {
	at := len(h.wrote)
	h.wrote = append(h.wrote, entries...)
	p, err := l.Append(entries...)
	h.position[at] = p
	return err
}

func (h *history) sync(l *wal.Log) error {
	if err := l.Sync(); err != nil {
		return err
	}
	h.acked = len(h.wrote)
	return nil
}

func (h *history) rotate(l *wal.Log, head ...wal.Entry) error {
	h.wrote = append(h.wrote, head...)
	if err := l.Rotate(head...); err != nil {
		return err
	}
	h.acked = len(h.wrote)
	return nil
}

// workload is two lives of an owner: frames synced one by one and several at once, long ones, rotation,
// trimming, a clean stop and one without. It returns the first error.
func workload(fsys vfs.FS, h *history) error {
	o := options(fsys)
	o.MinSegments = 1
	l, _, err := wal.Open(o)
	if err != nil {
		return err
	}
	big := entry(7)
	big.Payload = append(big.Payload, make([]byte, 700)...)
	big.Payload = append(big.Payload, "end"...)
	steps := []func() error{
		func() error { return h.write(l, entry(1)) },
		func() error { return h.sync(l) },
		func() error { return h.write(l, entry(2), entry(3)) },
		func() error { return h.write(l, entry(4)) },
		func() error { return h.write(l, big, entry(5)) },
		func() error { return h.sync(l) },
		func() error { return h.write(l, entry(6)) },
		func() error { return h.rotate(l, entry(8)) },
		func() error { return h.write(l, entry(9)) },
		func() error { return h.sync(l) },
		func() error { return h.rotate(l) },
		func() error { return h.rotate(l, entry(10)) },
		func() error { return h.trim(l) },
		func() error { return h.write(l, entry(11)) },
		func() error { return h.close(l) },
		func() error { l, _, err = wal.Open(o); return err },
		func() error { return h.write(l, entry(12)) },
		func() error { return h.write(l, big) },
		func() error { return h.sync(l) },
		func() error { return h.write(l, entry(13)) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			if l != nil {
				_ = l.Close() // As an owner does that meets an error; it must not harm.
			}
			return err
		}
	}
	return nil
}

// trim lets go of all before the third segment's head.
func (h *history) trim(l *wal.Log) error {
	h.trimmed = 9
	_, err := l.Trim(1 << 60)
	return err
}

func (h *history) close(l *wal.Log) error {
	if err := l.Close(); err != nil {
		return err
	}
	h.acked = len(h.wrote)
	return nil
}

// check opens the log as a restart would and returns what it holds.
func (h *history) check(t *testing.T, fsys vfs.FS) []wal.Entry {
	t.Helper()
	l, r, err := wal.Open(options(fsys))
	require.NoError(t, err)
	got := readAll(t, l)
	require.Len(t, got, r.Entries)
	h.compare(t, got)
	require.NoError(t, l.Close())
	return got
}

// compare checks that got is what was written from some entry that may be trimmed up to some entry that was
// not acknowledged or the last that was.
func (h *history) compare(t *testing.T, got []wal.Entry) {
	t.Helper()
	for first := 0; first <= h.trimmed; first++ {
		end := first + len(got)
		if end < h.acked || end > len(h.wrote) {
			continue
		}
		if fmt.Sprint(h.wrote[first:end]) == fmt.Sprint(got) {
			return
		}
	}
	require.Failf(t, "entries lost or garbled", "acknowledged %d of %v\ngot %v", h.acked, h.wrote, got)
}

// TestCrashAfterEveryCall stops the machine after every call of the workload, looks at what a restart finds
// with none, some and all of what was not synced, stops the restart after every call of its own too, and
// starts again.
func TestCrashAfterEveryCall(t *testing.T) {
	t.Parallel()
	points, restarts := 0, 0
	for stop := int64(0); ; stop++ {
		m := vfs.NewMem()
		f := vfs.NewFault(m)
		f.StopAfter(stop)
		h := &history{position: map[int]wal.Position{}}
		err := workload(f, h)
		for seed, keep := range []float64{0, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5} {
			after := m.Crash(keep, int64(seed))
			if seed < 4 {
				restarts += h.crashRestart(t, after, keep)
			}
			first := h.check(t, after)
			again := h.check(t, after.Crash(0, 1))
			require.Equal(t, first, again, "what Open has reported stays, without a sync by the caller")
			points++
		}
		h.killed(t, m)
		if f.Injected() == 0 {
			require.NoError(t, err)
			break
		}
		require.ErrorIs(t, err, vfs.ErrCrashed)
	}
	t.Logf("%d crashes of the owner, %d of a restart", points, restarts)
}

// killed opens a log whose owner was killed while the machine ran on: all it wrote is there, durable or not.
// What Open then reports must outlast a loss of power right behind it.
func (h *history) killed(t *testing.T, m *vfs.Mem) {
	t.Helper()
	l, _, err := wal.Open(options(m))
	require.NoError(t, err)
	got := readAll(t, l)
	h.compare(t, got)
	now, _, err := wal.Open(options(m.Crash(0, 1)))
	require.NoError(t, err)
	require.Equal(t, got, readAll(t, now))
	_, err = l.Append(entry(99))
	require.NoError(t, err)
	require.NoError(t, l.Sync())
	got = append(got, entry(99))
	l, _, err = wal.Open(options(m.Crash(0, 1)))
	require.NoError(t, err)
	require.Equal(t, got, readAll(t, l))
}

// crashRestart stops Open after each of its calls, and checks the next one.
func (h *history) crashRestart(t *testing.T, after *vfs.Mem, keep float64) int {
	t.Helper()
	for stop := int64(0); ; stop++ {
		m := after.Crash(1, 0)
		f := vfs.NewFault(m)
		f.StopAfter(stop)
		_, _, err := wal.Open(options(f))
		h.check(t, m.Crash(keep, stop))
		if f.Injected() == 0 {
			require.NoError(t, err)
			return int(stop)
		}
		require.ErrorIs(t, err, vfs.ErrCrashed)
	}
}

// TestFaultOfEveryCall fails each call once, whichever it is, while later ones would succeed. The error comes
// out, or the call did not matter, and the next Open finds all that was acknowledged.
func TestFaultOfEveryCall(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
		for nth := 1; ; nth++ {
			m := vfs.NewMem()
			f := vfs.NewFault(m, vfs.Rule{Nth: nth, Err: cause, Short: 13})
			h := &history{position: map[int]wal.Position{}}
			err := workload(f, h)
			if f.Injected() == 0 {
				require.NoError(t, err)
				break
			}
			require.ErrorIs(t, err, cause, "call %d", nth)
			for seed, keep := range []float64{0, 0.5, 0.5, 1} {
				h.check(t, m.Crash(keep, int64(seed)))
			}
		}
	}
}

// TestTornAtEveryByte cuts the log at every byte and fills it up with zeros again.
func TestTornAtEveryByte(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	h := &history{position: map[int]wal.Position{}}
	l, _ := open(t, m)
	ends := []int64{l.SegmentSize()}
	for i := range 6 {
		require.NoError(t, h.write(l, entry(i)))
		ends = append(ends, l.SegmentSize())
	}
	path := dir + "/wal-0000000000000001.log"
	size := ends[6]
	for cut := ends[0]; cut < size; cut++ {
		whole := 0
		for whole < 6 && ends[whole+1] <= cut {
			whole++
		}
		torn := m.Crash(1, 0)
		require.NoError(t, torn.Truncate(path, cut))
		tail := files(t, torn)["wal-0000000000000001.log"][ends[whole]:]
		requireTorn(t, torn, whole, tail)

		torn = m.Crash(1, 0)
		require.NoError(t, torn.Truncate(path, cut))
		require.NoError(t, torn.Truncate(path, cut+512))
		found, r := open(t, torn)
		require.NotNil(t, r.Torn, "cut at %d and filled up with zeros", cut)
		got := readAll(t, found)
		require.GreaterOrEqual(t, len(got), whole)
		require.Equal(t, h.wrote[:len(got)], append([]wal.Entry{}, got...))
	}
}

func requireTorn(t *testing.T, m *vfs.Mem, whole int, tail string) {
	t.Helper()
	report, err := wal.Verify(m, dir)
	require.NoError(t, err)
	l, r := open(t, m)
	require.Equal(t, whole, r.Entries)
	if tail == "" {
		require.Nil(t, r.Torn)
		require.Nil(t, report.Torn)
	} else {
		require.Equal(t, report.Torn.Offset, r.Torn.Offset)
		require.EqualValues(t, len(tail), r.Torn.Bytes)
		require.Equal(t, tail, files(t, m)["wal-0000000000000001.log.torn"])
	}
	p, err := l.Append(entry(99))
	require.NoError(t, err)
	require.EqualValues(t, whole+1, p)
	require.NoError(t, l.Sync())
	require.NoError(t, l.Close())
	_, r = open(t, m)
	require.Nil(t, r.Torn)
	require.Equal(t, whole+1, r.Entries)
}
