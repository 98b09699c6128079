package checkpoint_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

// acked is what a run was told is durable when the machine stopped.
type acked struct {
	opens    uint64
	intent   int64 // newest whose Intend returned
	commit   int64 // newest that a Flush, an Intend or a Snapshot made durable
	version  int64
	excluded int64 // newest whose Exclude returned
	staged   int64 // newest whose Stage returned
}

func poisoned(b int64) bool { return b%5 == 1 }
func stages(b int64) bool   { return b%5 == 2 }

// life opens the checkpoint and runs batches up to one, as the engine does, until it is done or the machine
// stops.
func life(t *testing.T, o checkpoint.Options, m checkpoint.Meta, upTo int64, a *acked) error {
	t.Helper()
	c, r, err := checkpoint.Open(t.Context(), o, m)
	if err != nil {
		return err
	}
	a.opens++
	next := int64(0)
	if r.Last != nil {
		next = r.Last.Batch + 1
	}
	for b := next; b <= upTo && err == nil; b++ {
		err = oneBatch(t, c, b, a)
	}
	if err != nil {
		_ = c.Close(false)
		return err
	}
	if err := c.Close(upTo%2 == 0); err != nil {
		return err
	}
	if upTo%2 == 0 {
		a.commit = upTo
	}
	return nil
}

func oneBatch(t *testing.T, c *checkpoint.Checkpoint, b int64, a *acked) error {
	t.Helper()
	if err := c.Intend(intent(b)); err != nil {
		return err
	}
	a.intent, a.commit = b, max(a.commit, b-1)
	if poisoned(b) {
		if err := c.Exclude(exclude(b)); err != nil {
			return err
		}
		a.excluded = b
	}
	if stages(b) {
		if err := c.Stager().Stage(t.Context(), b, "out", fmt.Append(nil, "rows ", b)); err != nil {
			return err
		}
		a.staged = b
	}
	if err := c.Commit(commit(b)); err != nil {
		return err
	}
	if b%7 == 3 {
		if err := c.Flush(); err != nil {
			return err
		}
		a.commit = b
	}
	if b%4 == 3 {
		return snapshot(t, c, b, a)
	}
	return nil
}

func snapshot(t *testing.T, c *checkpoint.Checkpoint, b int64, a *acked) error {
	t.Helper()
	m := c.Meta()
	changes := tablesAt(b)
	if !m.Stateful {
		changes = nil
	}
	if err := c.Snapshot(t.Context(), b, changes); err != nil {
		return err
	}
	a.commit, a.version = b, b
	return nil
}

// lives is three lives of an owner: one that stops without a word, one that stops clean, one more.
func lives(t *testing.T, fsys vfs.FS, m checkpoint.Meta) (acked, error) {
	t.Helper()
	a := acked{intent: -1, commit: -1, version: -1, excluded: -1, staged: -1}
	for _, upTo := range []int64{6, 13, 18} {
		if err := life(t, small(fsys), m, upTo, &a); err != nil {
			return a, err
		}
	}
	return a, nil
}

// TestCrash stops the machine after every file system call of three lives, and looks at what the next one
// finds with none, half and all of what was not synced.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]checkpoint.Meta{"stateful": meta(), "stateless": stateless()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := vfs.NewFault(vfs.NewMem())
			_, err := lives(t, whole, m)
			require.NoError(t, err)
			require.Greater(t, whole.Calls(), int64(250))
			for k := range whole.Calls() {
				below := vfs.NewMem()
				fault := vfs.NewFault(below)
				fault.StopAfter(k)
				a, err := lives(t, fault, m)
				require.ErrorIs(t, err, vfs.ErrCrashed)
				for _, keep := range []float64{0, 0.5, 1} {
					at := fmt.Sprintf("call %d keep %v", k, keep)
					checkRecovery(t, below.Crash(keep, k), m, a, at)
				}
			}
		})
	}
}

func checkRecovery(t *testing.T, fsys *vfs.Mem, m checkpoint.Meta, a acked, at string) {
	t.Helper()
	c, r, err := checkpoint.Open(t.Context(), small(fsys), m)
	require.NoError(t, err, at)
	require.Greater(t, r.Epoch, a.opens, at)
	if a.opens > 0 {
		require.False(t, r.New, at)
	}
	last := checkLast(t, r, a, at)
	checkPending(t, c, r, a, at)
	checkVersion(t, r, m, a, at)

	b := last + 1
	require.NoError(t, c.Intend(intent(b)), at)
	require.NoError(t, c.Commit(commit(b)), at)
	require.NoError(t, snapshot(t, c, b, &a), at)
	require.NoError(t, c.Close(true), at)
	_, err = checkpoint.Verify(t.Context(), fsys, dir)
	require.NoError(t, err, at)
}

// checkLast: what is there is a prefix of what was done, and no shorter than what was acknowledged.
func checkLast(t *testing.T, r *checkpoint.Recovery, a acked, at string) int64 {
	t.Helper()
	if r.Last == nil {
		require.Equal(t, int64(-1), a.commit, at)
		require.Nil(t, r.LastIntent, at)
		return -1
	}
	b := r.Last.Batch
	require.GreaterOrEqual(t, b, a.commit, at)
	require.LessOrEqual(t, b, a.intent+1, at)
	require.Equal(t, commit(b), *r.Last, at)
	require.Equal(t, intent(b), *r.LastIntent, at)
	requireExclude(t, b, r.LastExclude, at)
	return b
}

func requireExclude(t *testing.T, b int64, got *checkpoint.Exclude, at string) {
	t.Helper()
	if !poisoned(b) {
		require.Nil(t, got, at)
		return
	}
	require.NotNil(t, got, at)
	require.Equal(t, exclude(b), *got, at)
}

func checkPending(t *testing.T, c *checkpoint.Checkpoint, r *checkpoint.Recovery, a acked, at string) {
	t.Helper()
	if r.Pending == nil {
		require.True(t, a.intent < 0 || r.Last != nil && r.Last.Batch >= a.intent, "%s: an acknowledged Intent is lost", at)
		return
	}
	b := r.Pending.Batch
	require.GreaterOrEqual(t, b, a.intent, at)
	require.Equal(t, intent(b), *r.Pending, at)
	require.Equal(t, intent(b).CRC(), r.Pending.CRC(), at)
	if a.excluded == b || r.PendingExclude != nil {
		requireExclude(t, b, r.PendingExclude, at)
	}
	got, err := c.Stager().Staged(t.Context(), b, "out")
	require.NoError(t, err, at)
	if a.staged == b || got != nil {
		require.Equal(t, fmt.Sprint("rows ", b), string(got), at)
	}
}

func checkVersion(t *testing.T, r *checkpoint.Recovery, m checkpoint.Meta, a acked, at string) {
	t.Helper()
	require.GreaterOrEqual(t, r.Version, a.version, at)
	if !m.Stateful {
		require.Empty(t, r.Rerun, at)
		return
	}
	requireVersion(t, r, at)
	next := r.Version + 1
	for _, b := range r.Rerun {
		require.Equal(t, intent(next), b.Intent, at)
		require.Equal(t, commit(next), *b.Commit, at)
		requireExclude(t, next, b.Exclude, at)
		next++
	}
	if r.Last != nil {
		require.Equal(t, r.Last.Batch, next-1, at)
	}
}

// TestDamage changes each byte in turn of every file of a checkpoint. Open refuses with a code and changes
// nothing, or finds what it would have found.
func TestDamage(t *testing.T) {
	t.Parallel()
	base := vfs.NewMem()
	c, _ := open(t, small(base), meta())
	for b := range int64(8) {
		runBatch(t, c, b)
		if b%3 == 2 {
			require.NoError(t, c.Snapshot(t.Context(), b, tablesAt(b)))
		}
	}
	require.NoError(t, c.Intend(intent(8)))
	require.NoError(t, c.Stager().Stage(t.Context(), 8, "out", []byte("rows of 8")))
	require.NoError(t, c.Close(true))
	want := damagedView(t, base.Crash(1, 0))
	refused := 0
	for path, whole := range tree(t, base, dir) {
		for at := range len(whole) {
			fsys := base.Crash(1, 0)
			damaged := []byte(whole)
			damaged[at] ^= 1 << (at % 8)
			write(t, fsys, path, damaged)
			before := tree(t, fsys, dir)
			got, err := view(t, fsys)
			if err == nil {
				require.Equal(t, want, got, "%s byte %d", path, at)
				continue
			}
			refused++
			code := diag.CodeOf(err)
			require.Contains(t, []diag.Code{diag.LogCorrupt, diag.StateCorrupt, diag.CheckpointUnusable}, code, "%v", err)
			if !got.opened {
				require.Equal(t, before, tree(t, fsys, dir), "%s byte %d: a refused Open changed something", path, at)
			}
		}
	}
	require.Greater(t, refused, 5000)
}

// seen is what an owner gets to know from a checkpoint.
type seen struct {
	opened  bool
	last    checkpoint.Commit
	pending checkpoint.Intent
	rerun   []checkpoint.Replay
	meta    checkpoint.Meta
	version int64
	staged  string
}

func damagedView(t *testing.T, fsys vfs.FS) seen {
	t.Helper()
	s, err := view(t, fsys)
	require.NoError(t, err)
	require.Equal(t, int64(5), s.version)
	require.Equal(t, "rows of 8", s.staged)
	return s
}

func view(t *testing.T, fsys vfs.FS) (s seen, err error) {
	t.Helper()
	c, r, err := checkpoint.Open(t.Context(), small(fsys), checkpoint.Meta{})
	if err != nil {
		return s, err
	}
	defer func() { require.NoError(t, c.Close(false)) }()
	s = seen{true, *r.Last, *r.Pending, r.Rerun, r.Meta, r.Version, ""}
	if err := r.Load(t.Context(), func(state.Change) error { return nil }); err != nil {
		return s, err
	}
	staged, err := c.Stager().Staged(t.Context(), 8, "out")
	s.staged = string(staged)
	return s, err
}
