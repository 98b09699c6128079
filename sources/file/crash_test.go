package file

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

func putMem(t *testing.T, fsys vfs.FS, name, text string) {
	t.Helper()
	f, err := fsys.Create(name)
	require.NoError(t, err)
	_, err = f.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	require.NoError(t, fsys.SyncDir("/in"))
}

func memSource(t *testing.T, fsys vfs.FS) *source {
	t.Helper()
	s, err := open(stream.SourceConfig{Name: "f", Query: "0a0b", FS: fsys, Dir: "/data/f", Clock: clock.System{},
		Options: stream.Options{"path": "/in/*.ndjson", "format": "ndjson", "poll_interval": time.Second}})
	require.NoError(t, err)
	return s
}

// seen is what the engine may have logged: a range and what was read of it.
type seen struct {
	r   stream.Range
	crc uint32
}

// live runs a query's life on fsys, a new file before each batch, and returns what it was told.
func live(ctx context.Context, s *source, put func(i int)) (log []seen, err error) {
	from, _, err := s.Start(ctx)
	if err != nil {
		return nil, err
	}
	identity := ""
	for i := range 6 {
		put(i)
		a, err := s.Available(ctx, from, identity, stream.Limit{Files: 2})
		if err != nil {
			return log, err
		}
		identity = a.Identity
		r := stream.Range{From: from, To: a.To, Identity: identity}
		in, err := s.Read(ctx, r)
		if err != nil {
			return log, err
		}
		log, from = append(log, seen{r, in.CRC}), a.To
	}
	return log, s.Close()
}

// TestCrashAfterEveryCall stops after every call to the file system, takes what a restart would find with
// none, half or all of the unsynced data, and asks for all that had been answered.
func TestCrashAfterEveryCall(t *testing.T) {
	t.Parallel()
	total := int64(1)
	for k := int64(0); k < total; k++ {
		mem := vfs.NewMem()
		require.NoError(t, mem.MkdirAll("/in"))
		fault := vfs.NewFault(mem)
		fault.StopAfter(k)
		if k == 0 {
			fault.StopAfter(1 << 30)
		}
		log, err := live(t.Context(), memSource(t, fault), func(i int) {
			putMem(t, mem, fmt.Sprintf("/in/%d.ndjson", 9-i), fmt.Sprintf("{\"id\":%d}\n", i))
		})
		if k == 0 {
			require.NoError(t, err)
			require.Len(t, log, 6)
			total = fault.Calls()
			continue
		}
		for seed, keep := range []float64{0, 0.5, 0.5, 1} {
			again := memSource(t, mem.Crash(keep, int64(seed)))
			for _, l := range log {
				in, err := again.Read(t.Context(), l.r)
				require.NoError(t, err, "stopped after call %d, kept %v", k, keep)
				require.Equal(t, l.crc, in.CRC)
			}
			from := stream.Offset("0")
			if len(log) > 0 {
				from = log[len(log)-1].r.To
			}
			a, err := again.Available(t.Context(), from, "", stream.Limit{})
			require.NoError(t, err, "stopped after call %d, kept %v", k, keep)
			whole, err := again.Read(t.Context(), stream.Range{From: "0", To: a.To})
			require.NoError(t, err)
			names, err := mem.List("/in")
			require.NoError(t, err)
			require.Equal(t, len(names), whole.Messages.Len(), "every file has one ordinal")
			require.NoError(t, again.Close())
		}
	}
	require.Greater(t, total, int64(30))
}

func TestDamagedLogIsRefused(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("/in"))
	_, err := live(t.Context(), memSource(t, mem), func(i int) { putMem(t, mem, fmt.Sprintf("/in/%d.ndjson", i), "{}\n") })
	require.NoError(t, err)
	good, err := readFile(mem, "/data/f/seen.log")
	require.NoError(t, err)
	for at := range good {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x10
		putMem(t, mem, "/data/f/seen.log", string(bad))
		l, err := openLog(mem, "/data/f")
		if err == nil {
			// Only the last line may be taken for one that was torn.
			require.Greater(t, at, len(good)-60)
			require.NoError(t, l.close())
			continue
		}
		require.Equal(t, diag.LogCorrupt, diag.CodeOf(err), "byte %d", at)
	}
}

func TestFailedSyncIsFinal(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("/in"))
	fault := vfs.NewFault(mem)
	s := memSource(t, fault)
	a, err := s.Available(t.Context(), "0", "", stream.Limit{})
	require.NoError(t, err)
	require.Equal(t, stream.Offset("0"), a.To)
	putMem(t, mem, "/in/a.ndjson", "{}\n")
	fault.Inject(vfs.Rule{Op: vfs.OpSync, Path: logName, Nth: 1, Err: syscall.EIO})
	for range 2 {
		_, err = s.Available(t.Context(), "0", "", stream.Limit{})
		require.ErrorIs(t, err, syscall.EIO)
	}
	require.NoError(t, s.Close())
	again := memSource(t, mem.Crash(0, 1))
	a, err = again.Available(t.Context(), "0", a.Identity, stream.Limit{})
	require.NoError(t, err)
	require.Equal(t, stream.Offset("1"), a.To)
	require.NoError(t, again.Close())
}

func TestLogForgetsFilesThatAreGone(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("/in"))
	s := memSource(t, mem)
	from, n := stream.Offset("0"), 2*goneMin
	for i := range n {
		putMem(t, mem, fmt.Sprintf("/in/%05d.ndjson", i), "{}\n")
	}
	a, err := s.Available(t.Context(), from, "", stream.Limit{})
	require.NoError(t, err)
	for i := range n - 10 {
		require.NoError(t, mem.Remove(fmt.Sprintf("/in/%05d.ndjson", i)))
	}
	require.NoError(t, s.Acknowledge(t.Context(), a.To))
	_, err = s.Available(t.Context(), a.To, a.Identity, stream.Limit{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	l, err := openLog(mem, "/data/f")
	require.NoError(t, err)
	require.Len(t, l.entries, 10)
	require.Equal(t, a.Identity, l.id)
	require.Equal(t, int64(n+1), l.next)
	require.NoError(t, l.close())
}

// TestCrashThenInputsAreGone runs a life like the one above in which the machine stops after every call, and then
// removes every input file before the restart. Each range that Available has named, whether it had been read or not,
// must give the rows of the files it was made of, unless it was acknowledged; so a batch whose Intent is logged always
// runs again.
func TestCrashThenInputsAreGone(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{spoolLink, spoolCopy} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			total := int64(1)
			for k := int64(0); k < total; k++ {
				mem := vfs.NewMem()
				require.NoError(t, mem.MkdirAll("/in"))
				fault := vfs.NewFault(mem)
				fault.StopAfter(k)
				if k == 0 {
					fault.StopAfter(1 << 30)
				}
				s := memSource(t, fault)
				s.cfg.Options["spool"] = mode
				named, acked, err := taken(t, s, mem)
				if k == 0 {
					require.NoError(t, err)
					require.Len(t, named, 6)
					total = fault.Calls()
					continue
				}
				require.ErrorIs(t, err, vfs.ErrCrashed)
				for seed, keep := range []float64{0, 0.5, 0.5, 1} {
					disk := mem.Crash(keep, int64(seed))
					names, err := disk.List("/in")
					require.NoError(t, err)
					for _, name := range names {
						require.NoError(t, disk.Remove("/in/"+name))
					}
					again := memSource(t, disk)
					for i, r := range named {
						if i < acked {
							continue
						}
						in, err := again.Read(t.Context(), r)
						require.NoError(t, err, "stopped after call %d, kept %v, range %d", k, keep, i)
						require.Equal(t, []string{fmt.Sprintf("{\"id\":%d}\n", 2*i), fmt.Sprintf("{\"id\":%d}\n", 2*i+1)}, payloads(in))
					}
					require.NoError(t, again.Close())
				}
			}
			require.Greater(t, total, int64(100))
		})
	}
}

// taken is a life with two new files before each batch, whose writer syncs nothing. Every other batch is read, and
// what lies three batches back is acknowledged. It returns the ranges Available named and how many of them Acknowledge
// was called for.
func taken(t *testing.T, s *source, mem *vfs.Mem) (named []stream.Range, acked int, err error) {
	t.Helper()
	from, _, err := s.Start(t.Context())
	for i := 0; err == nil && i < 6; i++ {
		for n := range 2 {
			f, err := mem.Create(fmt.Sprintf("/in/%d.ndjson", 99-2*i-n))
			require.NoError(t, err)
			_, err = fmt.Fprintf(f, "{\"id\":%d}\n", 2*i+n)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		}
		var a stream.Available
		if a, err = s.Available(t.Context(), from, "", stream.Limit{}); err != nil {
			break
		}
		r := stream.Range{From: from, To: a.To, Identity: a.Identity}
		named, from = append(named, r), a.To
		if i%2 == 0 {
			if _, err = s.Read(t.Context(), r); err != nil {
				break
			}
		}
		if i >= 3 {
			acked = i - 2
			err = s.Acknowledge(t.Context(), named[i-3].To)
		}
	}
	return named, acked, errors.Join(err, s.Close())
}
