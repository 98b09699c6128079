package state_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

func checked(t *testing.T) *memory.CheckedAllocator {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	t.Cleanup(func() { mem.AssertSize(t, 0) })
	return mem
}

// TestStoreKeepsVersions is the contract on both file systems: every version loads as it was written, also
// after the store was opened again.
func TestStoreKeepsVersions(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (vfs.FS, string){
		"mem": func(*testing.T) (vfs.FS, string) { return vfs.NewMem(), dir },
		"os":  func(t *testing.T) (vfs.FS, string) { t.Helper(); return vfs.OS{}, filepath.Join(t.TempDir(), "state") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mem := checked(t)
			fsys, at := open(t)
			s, err := state.Open(fsys, at)
			require.NoError(t, err)
			_, ok := s.Latest(1 << 60)
			require.False(t, ok)

			want, now := map[int64]tables{}, tables{}
			for n := range int64(20) {
				changes := step(mem, s, n)
				info, err := s.Write(t.Context(), 10*n, changes)
				require.NoError(t, err)
				require.Equal(t, 10*n, info.Batch)
				require.Positive(t, info.Bytes)
				for _, c := range changes {
					now.lay(c)
				}
				release(changes)
				want[10*n] = now.clone()
				if n%7 == 6 {
					s, err = state.Open(fsys, at)
					require.NoError(t, err)
				}
			}
			require.Len(t, s.Versions(), 20)
			for batch, content := range want {
				v, ok := s.Latest(batch + 9)
				require.True(t, ok)
				require.Equal(t, batch, v.Batch())
				got, err := load(t.Context(), mem, v)
				require.NoError(t, err)
				require.Equal(t, content, got)
			}
			n, err := state.Verify(t.Context(), fsys, at)
			require.NoError(t, err)
			require.Equal(t, 20, n)
		})
	}
}

func TestStoreRefuses(t *testing.T) {
	t.Parallel()
	mem := checked(t)
	s, err := state.Open(vfs.NewMem(), dir)
	require.NoError(t, err)
	write := func(batch int64, changes ...state.Change) error {
		defer release(changes)
		_, err := s.Write(t.Context(), batch, changes)
		return err
	}
	require.NoError(t, write(5, base(mem, "a", span(0, 9), "v")))
	other := delta(mem, "a", span(0, 1), nil, "v")
	other.Columns = []string{"k BIGINT", "v INTEGER"}
	gone := base(mem, "a", span(0, 1), "v")
	gone.Deleted = []arrow.Record{keyRows(mem, span(0, 1))}
	for name, err := range map[string]error{
		"same batch":        write(5),
		"older batch":       write(4),
		"negative":          write(-1),
		"delta, no base":    write(6, delta(mem, "b", span(0, 1), nil, "v")),
		"other columns":     write(6, other),
		"base that deletes": write(6, gone),
		"no name":           write(6, base(mem, "", span(0, 1), "v")),
	} {
		require.Equal(t, diag.Internal, diag.CodeOf(err), name)
	}
	require.Equal(t, []int64{5}, s.Versions())
	require.NoError(t, write(6), "a version with no change")
}

func TestStoreWantsBase(t *testing.T) {
	t.Parallel()
	mem := checked(t)
	s, err := state.Open(vfs.NewMem(), dir)
	require.NoError(t, err)
	require.False(t, s.WantBase("a"))
	for n := range int64(300) {
		changes := []state.Change{delta(mem, "a", span(0, 1), nil, "x"), delta(mem, "b", span(0, 2000), nil, "x")}
		if n == 0 {
			release(changes)
			changes = []state.Change{base(mem, "a", span(0, 40_000), "x"), base(mem, "b", span(0, 5000), "x")}
		}
		_, err := s.Write(t.Context(), n, changes)
		release(changes)
		require.NoError(t, err)
		require.Equal(t, n >= 256, s.WantBase("a"), "many deltas, after %d", n)
		require.Equal(t, n >= 3, s.WantBase("b"), "large deltas, after %d", n)
	}
}

// TestDiskUseIsBounded runs 500 versions of a query of constant size.
func TestDiskUseIsBounded(t *testing.T) {
	t.Parallel()
	mem := checked(t)
	fsys := vfs.NewMem()
	s, err := state.Open(fsys, dir)
	require.NoError(t, err)
	for n := range int64(500) {
		changes := step(mem, s, n)
		_, err := s.Write(t.Context(), n, changes)
		release(changes)
		require.NoError(t, err)
		require.NoError(t, s.Prune(2, n))
		files, bytes := fsBytes(t, fsys, dir)
		require.Less(t, files, 40)
		require.Less(t, bytes, int64(100_000))
	}
	require.Equal(t, []int64{498, 499}, s.Versions())
	v, _ := s.Latest(498)
	_, err = load(t.Context(), mem, v)
	require.NoError(t, err)
}

func TestPruneKeepsWhatRecoveryNeeds(t *testing.T) {
	t.Parallel()
	mem := checked(t)
	s, err := state.Open(vfs.NewMem(), dir)
	require.NoError(t, err)
	for n := range int64(6) {
		changes := step(mem, s, n)
		_, err := s.Write(t.Context(), 10*n, changes)
		release(changes)
		require.NoError(t, err)
	}
	require.NoError(t, s.Prune(2, 29))
	require.Equal(t, []int64{20, 30, 40, 50}, s.Versions())
	v, _ := s.Latest(29)
	_, err = load(t.Context(), mem, v)
	require.NoError(t, err)
	require.NoError(t, s.Prune(0, 1000))
	require.Equal(t, []int64{50}, s.Versions())
}

// TestLoadGroupsRows loads a table larger than one group: one base, then deltas, and little memory at a time.
func TestLoadGroupsRows(t *testing.T) {
	t.Parallel()
	mem := checked(t)
	s, err := state.Open(vfs.NewMem(), dir)
	require.NoError(t, err)
	c := base(mem, "big", span(0, 50_000), "x")
	for i := range int64(4) {
		c.Records = append(c.Records, rows(mem, span(50_000*(i+1), 50_000*(i+2)), "x"))
	}
	empty := base(mem, "empty", nil, "")
	empty.Records[0].Release()
	empty.Records = nil
	_, err = s.Write(t.Context(), 0, []state.Change{c, empty})
	c.Release()
	require.NoError(t, err)
	v, _ := s.Latest(0)
	var bases []bool
	got := tables{}
	require.NoError(t, v.Load(t.Context(), mem, func(c state.Change) error {
		bases = append(bases, c.Base)
		got.lay(c)
		return nil
	}))
	require.Equal(t, []bool{true, false, false, true}, bases)
	require.Len(t, got["big"], 250_000)
	require.Empty(t, got["empty"])
	require.Contains(t, got, "empty")

	stop := errors.New("stop")
	require.ErrorIs(t, v.Load(t.Context(), mem, func(state.Change) error { return stop }), stop)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, v.Load(ctx, mem, func(state.Change) error { return nil }), context.Canceled)
}

func TestWriteHonoursContext(t *testing.T) {
	t.Parallel()
	mem := checked(t)
	fsys := vfs.NewMem()
	s, err := state.Open(fsys, dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := base(mem, "a", span(0, 10), "x")
	defer c.Release()
	_, err = s.Write(ctx, 0, []state.Change{c})
	require.ErrorIs(t, err, context.Canceled)
	files, _ := fsBytes(t, fsys, dir)
	require.Zero(t, files)
	_, err = s.Write(t.Context(), 0, []state.Change{c})
	require.NoError(t, err)
}

// TestFaultsSurface makes each call of a Write fail in turn. The version is there exactly if Write said so,
// or the store refuses to go on.
func TestFaultsSurface(t *testing.T) {
	t.Parallel()
	for nth := 1; ; nth++ {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		below := vfs.NewMem()
		s, err := state.Open(below, dir)
		require.NoError(t, err)
		writeStep(t, s, 0)
		fault := vfs.NewFault(below)
		s, err = state.Open(fault, dir)
		require.NoError(t, err)
		fault.Inject(vfs.Rule{Nth: nth, Err: syscall.ENOSPC, Short: 3})
		changes := step(mem, s, 1)
		_, err = s.Write(t.Context(), 1, changes)
		if fault.Injected() == 0 {
			require.NoError(t, err)
			release(changes)
			require.Greater(t, nth, 10)
			return
		}
		require.ErrorIs(t, err, syscall.ENOSPC)
		require.Equal(t, diag.DiskFull, diag.CodeOf(err))
		if _, again := s.Write(t.Context(), 1, changes); again != nil {
			require.ErrorIs(t, again, syscall.ENOSPC, "a store whose publish failed stays failed")
		} else {
			require.Equal(t, []int64{0, 1}, s.Versions())
		}
		release(changes)
		s, err = state.Open(below, dir)
		require.NoError(t, err)
		v, ok := s.Latest(5)
		require.True(t, ok)
		_, err = load(t.Context(), mem, v)
		require.NoError(t, err)
		mem.AssertSize(t, 0)
	}
}

func writeStep(t *testing.T, s *state.Store, n int64) {
	t.Helper()
	changes := step(memory.DefaultAllocator, s, n)
	_, err := s.Write(t.Context(), n, changes)
	release(changes)
	require.NoError(t, err)
}

// TestCrash stops the machine after every file system call of ten versions with pruning, and looks at what a
// restart finds with none, half and all of what was not synced.
func TestCrash(t *testing.T) {
	t.Parallel()
	const versions = 10
	want := make([]tables, versions)
	total := crashRun(t, vfs.NewMem(), func(_ int64, n int64, now tables) { want[n] = now.clone() }, versions)
	require.Greater(t, total, int64(100))
	for k := range total {
		for _, keep := range []float64{0, 0.5, 1} {
			below := vfs.NewMem()
			acked := int64(-1)
			crashRun(t, below, func(calls, n int64, _ tables) {
				if calls <= k {
					acked = n
				}
			}, versions, k)
			checkCrash(t, below.Crash(keep, k), acked, want, fmt.Sprintf("call %d keep %v", k, keep))
		}
	}
}

// crashRun writes versions until the machine stops and reports each Write that was acknowledged. It returns
// the number of calls.
func crashRun(t *testing.T, below vfs.FS, acked func(calls, n int64, now tables), versions int64, stop ...int64) int64 {
	t.Helper()
	fault := vfs.NewFault(below)
	for _, k := range stop {
		fault.StopAfter(k)
	}
	s, err := state.Open(fault, dir)
	now := tables{}
	for n := int64(0); n < versions && err == nil; n++ {
		changes := step(memory.DefaultAllocator, s, n)
		for _, c := range changes {
			now.lay(c)
		}
		if _, err = s.Write(t.Context(), n, changes); err == nil {
			acked(fault.Calls(), n, now)
			err = s.Prune(2, n)
		}
		release(changes)
	}
	if err != nil {
		require.ErrorIs(t, err, vfs.ErrCrashed)
	}
	return fault.Calls()
}

func checkCrash(t *testing.T, fsys vfs.FS, acked int64, want []tables, at string) {
	t.Helper()
	s, err := state.Open(fsys, dir)
	require.NoError(t, err, at)
	v, ok := s.Latest(1 << 60)
	require.Equal(t, ok, v.Batch() >= 0)
	require.GreaterOrEqual(t, v.Batch(), acked, at)
	require.LessOrEqual(t, v.Batch(), acked+1, at)
	for _, batch := range s.Versions() {
		v, _ := s.Latest(batch)
		got, err := load(t.Context(), memory.DefaultAllocator, v)
		require.NoError(t, err, at)
		require.Equal(t, want[batch], got, at)
	}
	names, err := fsys.List(dir)
	require.NoError(t, err)
	named := map[string]bool{}
	for _, batch := range s.Versions() {
		named[fmt.Sprintf("%020d.json", batch)] = true
		v, _ := s.Latest(batch)
		for _, table := range v.Tables() {
			for _, f := range table.Files {
				named[f] = true
			}
		}
	}
	for _, name := range names {
		require.True(t, named[name], "%s: leftover %s", at, name)
	}
	if acked+1 < int64(len(want)) && s != nil {
		writeStep(t, s, v.Batch()+1)
	}
}

// TestDamage flips each bit in turn of every file of a store. Either nothing differs or the store says so,
// with the file, and nothing on disk changes.
func TestDamage(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	s, err := state.Open(fsys, dir)
	require.NoError(t, err)
	writeStep(t, s, 0)
	writeStep(t, s, 1)
	v, _ := s.Latest(1)
	want, err := load(t.Context(), memory.DefaultAllocator, v)
	require.NoError(t, err)
	names, err := fsys.List(dir)
	require.NoError(t, err)
	refused := 0
	for _, name := range names {
		path := filepath.Join(dir, name)
		whole, err := vfs.ReadFile(fsys, path)
		require.NoError(t, err)
		for at := range whole {
			damaged := append([]byte(nil), whole...)
			damaged[at] ^= 1 << (at % 8)
			refused += checkDamage(t, fsys, path, damaged, want)
		}
		for cut := 0; cut < len(whole); cut += 13 {
			refused += checkDamage(t, fsys, path, whole[:cut], want)
		}
		put(t, fsys, path, whole)
	}
	require.Greater(t, refused, 5000)
}

func put(t *testing.T, fsys vfs.FS, path string, data []byte) {
	t.Helper()
	f, err := fsys.Create(path)
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func checkDamage(t *testing.T, fsys vfs.FS, path string, damaged []byte, want tables) int {
	t.Helper()
	put(t, fsys, path, damaged)
	s, err := state.Open(fsys, dir)
	if err == nil {
		v, ok := s.Latest(1)
		require.True(t, ok)
		var got tables
		calls := 0
		got, err = load(t.Context(), memory.DefaultAllocator, v)
		if err == nil {
			require.Equal(t, want, got)
			return 0
		}
		_ = v.Load(t.Context(), memory.DefaultAllocator, func(state.Change) error { calls++; return nil })
		require.Zero(t, calls, "nothing is handed out before all of it was checked")
	}
	code := diag.CodeOf(err)
	require.True(t, code == diag.StateCorrupt || code == diag.CheckpointUnusable, "%v", err)
	require.Contains(t, err.Error(), path)
	got, err := vfs.ReadFile(fsys, path)
	require.NoError(t, err)
	require.Equal(t, damaged, got)
	return 1
}

func TestDamageNamesFileAndByte(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	s, err := state.Open(fsys, dir)
	require.NoError(t, err)
	c := base(memory.DefaultAllocator, "a", span(0, 20_000), "some value")
	_, err = s.Write(t.Context(), 7, []state.Change{c})
	c.Release()
	require.NoError(t, err)
	path := filepath.Join(dir, "00000000000000000007-00000.arrow")
	data, err := vfs.ReadFile(fsys, path)
	require.NoError(t, err)
	data[200_000]++
	put(t, fsys, path, data)
	v, _ := s.Latest(7)
	_, err = load(t.Context(), memory.DefaultAllocator, v)
	require.ErrorContains(t, err, "byte 196608: the checksum of the 65536 bytes from here differs")
	require.NoError(t, fsys.Remove(path))
	_, err = state.Open(fsys, dir)
	require.ErrorContains(t, err, path+": byte 0: the file is gone")
	require.True(t, strings.HasPrefix(diag.Render(err), "error[STATE_CORRUPT]"))
}

func TestOpenLeavesForeignFiles(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	require.NoError(t, fsys.MkdirAll(dir))
	put(t, fsys, filepath.Join(dir, "notes.txt"), []byte("mine"))
	put(t, fsys, filepath.Join(dir, "00000000000000000007-00000.arrow"), []byte("leftover"))
	put(t, fsys, filepath.Join(dir, "00000000000000000007.json.tmp"), []byte("leftover"))
	_, err := state.List(fsys, dir)
	require.NoError(t, err)
	files, _ := fsBytes(t, fsys, dir)
	require.Equal(t, 3, files, "List changes nothing")
	_, err = state.Open(fsys, dir)
	require.NoError(t, err)
	names, err := fsys.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"notes.txt"}, names)
}
