package checkpoint_test

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

func TestNewAndClean(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	m := meta()
	m.UUID = ""
	c, r, err := checkpoint.Open(t.Context(), options(fsys), m)
	require.NoError(t, err)
	require.True(t, r.New)
	require.Equal(t, uint64(1), r.Epoch)
	require.Len(t, r.Meta.UUID, 36)
	require.Nil(t, r.Last)
	require.Equal(t, int64(-1), r.Version)
	for b := range int64(3) {
		runBatch(t, c, b)
	}
	require.NoError(t, c.Close(true))
	require.NoError(t, c.Close(true))
	require.Error(t, c.Intend(intent(3)))

	again, r2 := open(t, options(fsys), checkpoint.Meta{Name: "revenue"})
	require.False(t, r2.New)
	require.Equal(t, r.Meta, r2.Meta)
	require.Equal(t, uint64(2), r2.Epoch)
	require.Equal(t, commit(2), *r2.Last)
	require.Equal(t, intent(2), *r2.LastIntent)
	require.Nil(t, r2.Pending)
	require.Equal(t, []int64{0, 1, 2}, batches(r2.Rerun))
	require.NoError(t, again.Intend(intent(3)))
}

func TestPendingIsExact(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, options(fsys), meta())
	runBatch(t, c, 0)
	require.NoError(t, c.Intend(intent(1)))
	require.NoError(t, c.Exclude(exclude(1)))
	require.NoError(t, c.Commit(commit(1))) // buffered, lost

	c2, r := open(t, options(fsys.Crash(0, 1)), meta())
	require.Equal(t, commit(0), *r.Last)
	require.Equal(t, intent(1), *r.Pending)
	require.Equal(t, intent(1).CRC(), r.Pending.CRC())
	require.Equal(t, exclude(1), *r.PendingExclude)
	require.NoError(t, c2.Intend(*r.Pending), "the promise may be given again")
	require.Equal(t, diag.Internal, diag.CodeOf(c2.Intend(intent(2))))
	other := intent(1)
	other.Plan = "p2"
	require.Equal(t, diag.Internal, diag.CodeOf(c2.Intend(other)))
	require.NoError(t, c2.Commit(commit(1)))
	require.NoError(t, c2.Intend(intent(2)))
}

func TestOrderIsChecked(t *testing.T) {
	t.Parallel()
	c, _ := open(t, options(vfs.NewMem()), meta())
	for name, err := range map[string]error{
		"intent 1 first":      c.Intend(intent(1)),
		"commit, no intent":   c.Commit(commit(0)),
		"exclude, no intent":  c.Exclude(exclude(0)),
		"snapshot, no commit": c.Snapshot(t.Context(), 0, nil),
		"stage, no intent":    c.Stager().Stage(t.Context(), 0, "out", nil),
	} {
		require.Equal(t, diag.Internal, diag.CodeOf(err), name)
	}
	runBatch(t, c, 0)
	require.Equal(t, diag.Internal, diag.CodeOf(c.Commit(commit(0))))
	require.Equal(t, diag.Internal, diag.CodeOf(c.Exclude(exclude(0))))
	require.Equal(t, diag.Internal, diag.CodeOf(c.Snapshot(t.Context(), 1, nil)))
	require.NoError(t, c.Snapshot(t.Context(), 0, tablesAt(0)))
	require.NoError(t, c.Snapshot(t.Context(), 0, tablesAt(0)), "the same version again")
}

func TestSnapshotAndRerun(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, options(fsys), meta())
	for b := range int64(8) {
		runBatch(t, c, b)
		if b == 2 || b == 5 {
			require.NoError(t, c.Snapshot(t.Context(), b, tablesAt(b)))
		}
	}
	require.NoError(t, c.Flush())
	_, r := open(t, options(fsys.Crash(0, 1)), meta())
	require.Equal(t, int64(5), r.Version)
	requireVersion(t, r, "")
	require.Equal(t, []int64{6, 7}, batches(r.Rerun))
	require.Equal(t, commit(6), *r.Rerun[0].Commit)

	// Without the newest version the one before is used, and the log still has what it needs.
	older := fsys.Crash(0, 1)
	require.NoError(t, older.Remove(filepath.Join(dir, "state", fmt.Sprintf("%020d.json", 5))))
	_, r = open(t, options(older), meta())
	require.Equal(t, int64(2), r.Version)
	requireVersion(t, r, "")
	require.Equal(t, []int64{3, 4, 5, 6, 7}, batches(r.Rerun))
}

func TestStateless(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	o := small(fsys)
	c, _ := open(t, o, stateless())
	for b := range int64(200) {
		runBatch(t, c, b)
		if b%50 == 0 {
			require.NoError(t, c.Snapshot(t.Context(), b, nil))
		}
	}
	require.Equal(t, diag.Internal, diag.CodeOf(c.Snapshot(t.Context(), 199, tablesAt(199))))
	require.NoError(t, c.Flush())
	names, err := fsys.List(filepath.Join(dir, "log"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(names), 3)
	_, r := open(t, small(fsys.Crash(0, 1)), stateless())
	require.Equal(t, int64(199), r.Version)
	require.Equal(t, commit(199), *r.Last)
	require.Empty(t, r.Rerun)
	require.NoError(t, r.Load(t.Context(), func(state.Change) error { return context.Canceled }))
}

func TestStager(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, small(fsys), meta())
	require.NoError(t, c.Intend(intent(0)))
	s := c.Stager()
	got, err := s.Staged(t.Context(), 0, "out")
	require.NoError(t, err)
	require.Nil(t, got)
	require.NoError(t, s.Stage(t.Context(), 0, "out/é", []byte("rows")))
	require.NoError(t, s.Stage(t.Context(), 0, "empty", nil))
	require.NoError(t, s.Stage(t.Context(), 0, "out/é", []byte("rows")))
	require.Equal(t, diag.Internal, diag.CodeOf(s.Stage(t.Context(), 0, "out/é", []byte("rowz"))))

	after := fsys.Crash(0, 1)
	c2, _ := open(t, small(after), meta())
	got, err = c2.Stager().Staged(t.Context(), 0, "out/é")
	require.NoError(t, err)
	require.Equal(t, []byte("rows"), got)
	got, err = c2.Stager().Staged(t.Context(), 0, "empty")
	require.NoError(t, err)
	require.NotNil(t, got)
	require.Empty(t, got)
	require.NoError(t, c2.Commit(commit(0)))
	files := func() int {
		names, err := after.List(filepath.Join(dir, "staged"))
		require.NoError(t, err)
		return len(names)
	}
	require.Equal(t, 2, files(), "kept until the Commit is durable")
	require.NoError(t, c2.Flush())
	require.Zero(t, files())
	got, err = c2.Stager().Staged(t.Context(), 0, "out/é")
	require.NoError(t, err)
	require.Nil(t, got)
}

func TestTablesStayWhileNeeded(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, small(fsys), meta())
	var hashes []string
	for b := range int64(6) {
		hash := putTable(t, c, b)
		in := intent(b)
		in.Tables = map[string]string{"rates": hash}
		require.NoError(t, c.Intend(in))
		require.NoError(t, c.Commit(commit(b)))
		require.NoError(t, c.Snapshot(t.Context(), b, tablesAt(b)))
		hashes = append(hashes, hash)
	}
	left := func() []bool {
		var there []bool
		for _, hash := range hashes {
			_, err := fsys.Stat(filepath.Join(dir, "tables", "rates-"+hash+".arrow"))
			there = append(there, err == nil)
		}
		return there
	}
	require.Equal(t, []bool{false, false, false, false, true, true}, left())
	c2, r := open(t, small(fsys.Crash(1, 0)), meta())
	require.Equal(t, hashes[5], r.LastIntent.Tables["rates"])
	kept, err := c2.Tables().Get(t.Context(), "rates", hashes[5])
	require.NoError(t, err)
	kept.Release()
}

func TestSnapshotDoesNotBlockIntend(t *testing.T) {
	t.Parallel()
	slow := &slowFS{FS: vfs.NewMem(), reached: make(chan struct{}), goOn: make(chan struct{})}
	c, _ := open(t, options(slow), meta())
	runBatch(t, c, 0)
	done := make(chan error, 1)
	go func() { done <- c.Snapshot(t.Context(), 0, tablesAt(0)) }() // ends when goOn is closed
	<-slow.reached
	for b := int64(1); b < 50; b++ {
		runBatch(t, c, b)
	}
	require.NoError(t, c.Flush())
	close(slow.goOn)
	require.NoError(t, <-done)
	_, r := open(t, options(slow.FS.(*vfs.Mem).Crash(0, 0)), meta())
	require.Equal(t, int64(0), r.Version)
	require.Len(t, r.Rerun, 49)
}

// slowFS stops at the first state file until it may go on.
type slowFS struct {
	vfs.FS
	reached, goOn chan struct{}
}

func (f *slowFS) Create(name string) (vfs.File, error) {
	if strings.HasSuffix(name, ".arrow") {
		close(f.reached)
		<-f.goOn
	}
	return f.FS.Create(name) //nolint:wrapcheck // a test double
}

func TestFlushWithoutCommitDoesNoIO(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, options(fsys), meta())
	runBatch(t, c, 0)
	require.NoError(t, c.Flush())
	before := fsys.Calls()
	require.NoError(t, c.Flush())
	require.NoError(t, c.Intend(intent(1)))
	one := fsys.Calls() - before
	require.NoError(t, c.Commit(commit(1)))
	require.Equal(t, one, fsys.Calls()-before, "a Commit is buffered")
	require.Equal(t, int64(2), one, "a batch costs one write and one sync")
}

func TestSaveMeta(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, r := open(t, options(fsys), meta())
	m := r.Meta
	m.Start = map[string]stream.Offset{"orders": "77"}
	m.UUID, m.Stateful = "other", false
	require.NoError(t, c.SaveMeta(m))
	_, r2 := open(t, options(fsys.Crash(0, 0)), checkpoint.Meta{})
	require.Equal(t, stream.Offset("77"), r2.Meta.Start["orders"])
	require.Equal(t, query, r2.Meta.UUID)
	require.True(t, r2.Meta.Stateful)
}

func TestLock(t *testing.T) {
	t.Parallel()
	o := options(vfs.OS{})
	o.Dir, o.Lock = filepath.Join(t.TempDir(), "q"), checkpoint.OSLock
	c, _, err := checkpoint.Open(t.Context(), o, meta())
	require.NoError(t, err)
	_, _, err = checkpoint.Open(t.Context(), o, meta())
	require.Equal(t, diag.CheckpointLocked, diag.CodeOf(err))
	require.Regexp(t, `locked by process \d+`, err.Error())
	runBatch(t, c, 0)
	require.NoError(t, c.Snapshot(t.Context(), 0, tablesAt(0)))

	s, err := checkpoint.Inspect(o.FS, o.Dir)
	require.NoError(t, err, "looking needs no lock")
	require.Equal(t, commit(0), *s.Last)
	require.NoError(t, o.FS.Remove(filepath.Join(o.Dir, "LOCK")))
	require.Equal(t, diag.CheckpointLocked, diag.CodeOf(c.Intend(intent(1))))
	require.NoError(t, c.Close(true))
	c, r, err := checkpoint.Open(t.Context(), o, meta())
	require.NoError(t, err)
	require.Equal(t, int64(0), r.Version)
	require.NoError(t, c.Close(true))
}

func TestLockIsReleasedWhenOpenFails(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, options(fsys), meta())
	require.NoError(t, c.Close(true))
	closed := 0
	o := options(fsys)
	o.Lock = func(string, string) (io.Closer, error) { return closeFunc(func() error { closed++; return nil }), nil }
	other := meta()
	other.Name = "clicks"
	_, _, err := checkpoint.Open(t.Context(), o, other)
	require.Equal(t, diag.CheckpointUnusable, diag.CodeOf(err))
	require.Equal(t, 1, closed)
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

func TestHistoryAndInspect(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, small(fsys), meta())
	none, err := c.History(5)
	require.NoError(t, err)
	require.Empty(t, none)
	for b := range int64(20) {
		runBatch(t, c, b)
		if b%4 == 3 {
			require.NoError(t, c.Snapshot(t.Context(), b, tablesAt(b)))
		}
	}
	h, err := c.History(3)
	require.NoError(t, err)
	require.Equal(t, []int64{17, 18, 19}, batches(h))
	require.Equal(t, commit(19), *h[2].Commit)
	all, err := c.History(1000)
	require.NoError(t, err)
	require.Greater(t, len(all), 3)

	require.NoError(t, c.Intend(intent(20)))
	before := fsys.Crash(1, 0)
	s, err := checkpoint.Inspect(fsys, dir)
	require.NoError(t, err)
	require.Equal(t, commit(19), *s.Last)
	require.Equal(t, intent(20), *s.Pending)
	require.Equal(t, 4711, s.Opened.PID)
	require.False(t, s.Closed)
	require.Len(t, s.Versions, 2)
	v, err := checkpoint.Verify(t.Context(), fsys, dir)
	require.NoError(t, err)
	require.Equal(t, checkpoint.Verified{Batches: len(s.Batches), Versions: 2}, v)
	requireSameFiles(t, before, fsys)
	require.NoError(t, c.Close(true))
	s, err = checkpoint.Inspect(fsys, dir)
	require.NoError(t, err)
	require.True(t, s.Closed)

	_, err = checkpoint.Inspect(fsys, "/nowhere")
	require.Equal(t, diag.CheckpointUnusable, diag.CodeOf(err))
}

// TestDiskUseIsBounded runs 50,000 batches with 200 snapshots at the usual limits.
func TestDiskUseIsBounded(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, options(fsys), meta())
	largest, files := int64(0), 0
	for b := range int64(50_000) {
		require.NoError(t, c.Intend(intent(b)))
		require.NoError(t, c.Commit(commit(b)))
		if b%250 != 249 {
			continue
		}
		require.NoError(t, c.Snapshot(t.Context(), b, tablesAt(b)))
		n, bytes := treeSize(t, fsys, dir)
		largest, files = max(largest, bytes), max(files, n)
	}
	// Segments of 10,000 batches of 1.1 KB; the newest, the one before, and one that is about to go.
	require.Less(t, largest, int64(36<<20))
	require.Less(t, files, 12)
	require.NoError(t, c.Close(true))
	_, r := open(t, options(fsys), meta())
	require.Equal(t, int64(49_999), r.Version)
	require.Empty(t, r.Rerun)
	require.Equal(t, commit(49_999), *r.Last)
}

func TestUnusable(t *testing.T) {
	t.Parallel()
	base := vfs.NewMem()
	c, _ := open(t, options(base), meta())
	for b := range int64(4) {
		runBatch(t, c, b)
	}
	require.NoError(t, c.Snapshot(t.Context(), 3, tablesAt(3)))
	require.NoError(t, c.Close(true))
	for name, breakIt := range map[string]func(fsys *vfs.Mem) checkpoint.Meta{
		"meta is gone": func(fsys *vfs.Mem) checkpoint.Meta {
			require.NoError(t, fsys.Remove(filepath.Join(dir, "meta.json")))
			return meta()
		},
		"log is gone": func(fsys *vfs.Mem) checkpoint.Meta {
			names, err := fsys.List(filepath.Join(dir, "log"))
			require.NoError(t, err)
			for _, name := range names {
				require.NoError(t, fsys.Remove(filepath.Join(dir, "log", name)))
			}
			return meta()
		},
		"another query": func(*vfs.Mem) checkpoint.Meta { return checkpoint.Meta{Name: "clicks"} },
		"another uuid":  func(*vfs.Mem) checkpoint.Meta { return checkpoint.Meta{UUID: strings.Replace(query, "5", "6", 1)} },
	} {
		fsys := base.Crash(1, 0)
		m := breakIt(fsys)
		_, _, err := checkpoint.Open(t.Context(), options(fsys), m)
		require.Equal(t, diag.CheckpointUnusable, diag.CodeOf(err), "%s: %v", name, err)
		require.NotEmpty(t, diag.All(err)[0].Hint, name)
	}
}

// TestOldLogWithNewState gives a log from an older copy to newer state.
func TestOldLogWithNewState(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, options(fsys), meta())
	runBatch(t, c, 0)
	require.NoError(t, c.Flush())
	old := fsys.Crash(0, 0)
	runBatch(t, c, 1)
	require.NoError(t, c.Snapshot(t.Context(), 1, tablesAt(1)))
	for _, name := range []string{fmt.Sprintf("%020d.json", 1), fmt.Sprintf("%020d-%05d.arrow", 1, 0)} {
		data, err := vfs.ReadFile(fsys, filepath.Join(dir, "state", name))
		require.NoError(t, err)
		require.NoError(t, vfs.WriteFile(old, filepath.Join(dir, "state", name), data))
	}
	_, _, err := checkpoint.Open(t.Context(), options(old), meta())
	require.Equal(t, diag.CheckpointUnusable, diag.CodeOf(err))
	require.ErrorContains(t, err, "has a version of batch 1, but the last Commit in the log is of batch 0")
}

// TestUnborn asks that what a first start leaves before meta.json is told from a directory that lost it.
func TestUnborn(t *testing.T) {
	t.Parallel()
	o := options(vfs.OS{})
	o.Dir = filepath.Join(t.TempDir(), "q")
	c, _, err := checkpoint.Open(t.Context(), o, meta())
	require.NoError(t, err)
	require.NoError(t, c.Close(false))
	require.NoError(t, o.FS.Remove(filepath.Join(o.Dir, "meta.json")))
	unborn, err := checkpoint.Unborn(o.FS, o.Dir)
	require.NoError(t, err)
	require.True(t, unborn)

	c, r, err := checkpoint.Open(t.Context(), o, meta())
	require.NoError(t, err)
	require.True(t, r.New)
	runBatch(t, c, 0)
	require.NoError(t, c.Close(false))
	require.NoError(t, o.FS.Remove(filepath.Join(o.Dir, "meta.json")))
	unborn, err = checkpoint.Unborn(o.FS, o.Dir)
	require.NoError(t, err)
	require.False(t, unborn)
}
