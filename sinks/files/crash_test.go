package files

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

// script is a life of a sink: what each batch writes, and what a reader sees after it.
type script struct {
	name  string
	extra stream.Options
	steps []step
}

type step struct {
	mode  stream.Mode
	slot  string
	rows  []sinktest.Row
	after []sinktest.Row
}

func scripts() []script {
	row := func(id int64) sinktest.Row { return sinktest.Row{ID: id, Name: "r", N: id % 2} }
	appends := script{name: "append"}
	merged := script{name: "compact", extra: stream.Options{"compact": true, "target_file_bytes": int64(106)}}
	folders := script{name: "partitions", extra: stream.Options{"partition_by": []string{"name"}}}
	var all []sinktest.Row
	for b := range int64(4) {
		rows := []sinktest.Row{row(2 * b), row(2*b + 1)}
		all = append(all, rows...)
		s := step{rows: rows, after: append([]sinktest.Row(nil), all...)}
		appends.steps = append(appends.steps, s)
		merged.steps = append(merged.steps, s)
		s.rows = []sinktest.Row{{ID: 2 * b, Name: "r", N: 0}, {ID: 2*b + 1, Name: "r", N: 1}}
		folders.steps = append(folders.steps, s)
	}
	return []script{appends, merged, folders, {name: "complete", steps: []step{
		{mode: stream.Complete, rows: []sinktest.Row{row(1), row(2)}, after: []sinktest.Row{row(1), row(2)}},
		{mode: stream.Complete, rows: []sinktest.Row{row(3)}, after: []sinktest.Row{row(3)}},
		{mode: stream.Complete},
	}}, {name: "slots", steps: []step{
		{slot: "a", rows: []sinktest.Row{row(1), row(2)}, after: []sinktest.Row{row(1), row(2)}},
		{slot: "b", rows: []sinktest.Row{row(3)}, after: []sinktest.Row{row(1), row(2), row(3)}},
		{slot: "a", rows: []sinktest.Row{row(4)}, after: []sinktest.Row{row(4), row(3)}},
	}}}
}

// run does the script from the batch that comes after last, and returns the last batch that Write returned
// for.
func (s script) run(t *testing.T, fsys vfs.FS, epoch uint64, last int64, pending bool) (int64, error) {
	t.Helper()
	cfg := sinktest.Config(stream.Append)
	if s.steps[0].mode == stream.Complete {
		cfg = sinktest.Config(stream.Complete)
	}
	sink, err := jsonPlace(t, fsys, s.extra).Connect(cfg)
	require.NoError(t, err)
	o := sinktest.Owner(sinktest.QueryA, epoch, last)
	if pending {
		m := sinktest.Marker(sinktest.QueryA, epoch-1, last+1)
		o.Pending = &m
	}
	if err := sink.Open(t.Context(), o); err != nil {
		return last, err
	}
	for b := last + 1; b < int64(len(s.steps)); b++ {
		st := s.steps[b]
		d := stream.Delivery{Marker: sinktest.Marker(sinktest.QueryA, epoch, b), Mode: st.mode, Replace: st.slot}
		d.Result = sinktest.Batch(st.mode, st.rows...)
		err := sink.Write(t.Context(), d)
		d.Result.Release()
		if err != nil {
			return last, err
		}
		last = b
	}
	return last, sink.Close()
}

// TestCrash stops the machine after every call of a life, restarts over what the disk may have kept, and
// looks before and after the recovery.
func TestCrash(t *testing.T) {
	t.Parallel()
	for _, s := range scripts() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for k := int64(1); ; k++ {
				mem := vfs.NewMem()
				fault := vfs.NewFault(mem)
				fault.StopAfter(k)
				last, err := s.run(t, fault, 1, -1, false)
				for i, keep := range []float64{0, 0.5, 0.5, 1} {
					s.restart(t, mem.Crash(keep, int64(i)), last, fmt.Sprintf("after call %d, keep %v", k, keep))
				}
				if err == nil {
					require.Greater(t, k, int64(30), "the life is long enough to mean something")
					if s.extra["compact"] != nil {
						old, err := mem.List(root + "/" + oldDir)
						require.NoError(t, err)
						require.NotEmpty(t, old, "the life has a merge in it")
					}
					return
				}
				require.ErrorIs(t, err, vfs.ErrCrashed)
			}
		})
	}
}

func (s script) restart(t *testing.T, disk *vfs.Mem, last int64, when string) {
	t.Helper()
	committed, err := Files(disk, root)
	require.NoError(t, err, when)
	s.whole(t, disk, committed, last, when)
	known := map[string]bool{}
	for _, f := range committed {
		known[f.Path] = true
	}
	if s.extra["compact"] == nil && s.steps[0].mode == stream.Append && s.steps[0].slot == "" {
		for _, path := range glob(t, disk, root) {
			require.True(t, known[path], "%s: a glob sees %s, which is not committed", when, path)
		}
	}
	s.globbed(t, disk, last, when)

	end, err := s.run(t, disk, 2, last, true)
	require.NoError(t, err, when)
	require.Equal(t, int64(len(s.steps)-1), end)
	place := jsonPlace(t, disk, s.extra)
	sinktest.See(t, place, s.steps[end].after...)
	listed, err := Files(disk, root)
	require.NoError(t, err)
	require.ElementsMatch(t, glob(t, disk, root), paths(listed), "%s: the list is what a glob sees", when)
	staged, err := disk.List(root + "/" + stagingDir)
	require.NoError(t, err)
	require.Empty(t, staged, when)
}

// whole requires that the committed set is exactly the batches up to last, or one more.
func (s script) whole(t *testing.T, disk vfs.FS, files []FileInfo, last int64, when string) {
	t.Helper()
	got := fmt.Sprint(readJSON(t, disk, paths(files)))
	var want []string
	for b := last; b <= last+1 && b < int64(len(s.steps)); b++ {
		var rows [][]any
		if b >= 0 {
			for _, r := range s.steps[b].after {
				rows = append(rows, []any{r.ID, r.Name, r.N})
			}
		}
		want = append(want, fmt.Sprint(rows))
	}
	if s.name != "slots" && s.name != "partitions" { // there the order of files is another
		require.Contains(t, want, got, when)
	}
}

// globbed requires that a glob right after the crash sees no row twice and none that a reader may not see.
func (s script) globbed(t *testing.T, disk vfs.FS, last int64, when string) {
	t.Helper()
	allowed := map[string]bool{}
	for b := max(last, 0); b <= last+1 && b < int64(len(s.steps)); b++ {
		for _, r := range s.steps[b].after {
			allowed[fmt.Sprint([]any{r.ID, r.Name, r.N})] = true
		}
	}
	seen := map[string]bool{}
	for _, r := range readJSON(t, disk, glob(t, disk, root)) {
		key := fmt.Sprint(r)
		require.True(t, allowed[key], "%s: a glob sees row %s", when, key)
		require.False(t, seen[key], "%s: a glob sees row %s twice", when, key)
		seen[key] = true
	}
}

func paths(files []FileInfo) []string {
	list := make([]string, len(files))
	for i, f := range files {
		list[i] = f.Path
	}
	return list
}

// TestFaults makes every call of a life fail once, by itself. The fault surfaces, nothing half-done is seen,
// and a new owner goes on.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := scripts()[0]
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem, vfs.Rule{Nth: n, Err: syscall.ENOSPC})
		last, err := s.run(t, fault, 1, -1, false)
		if fault.Injected() == 0 {
			require.NoError(t, err)
			return
		}
		if err != nil {
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.Equal(t, diag.DiskFull, diag.CodeOf(err), "call %d: %v", n, err)
		}
		s.restart(t, mem.Crash(1, 0), last, fmt.Sprintf("call %d failed", n))
	}
}

// TestSleeper is an owner that sleeps while its next number is used and trimmed away.
func TestSleeper(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	place := jsonPlace(t, mem, nil)
	open := func(epoch uint64, last int64) stream.Sink {
		sink, err := place.Connect(sinktest.Config(stream.Append))
		require.NoError(t, err)
		require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, epoch, last)))
		return sink
	}
	write := func(sink stream.Sink, epoch uint64, b int64) error {
		return sinktest.Deliver(t.Context(), sink, sinktest.Marker(sinktest.QueryA, epoch, b), stream.Append, sinktest.Row{ID: b})
	}
	sleeper := open(1, -1)
	require.NoError(t, write(sleeper, 1, 0))
	awake := open(2, 0)
	for b := range int64(3 * snapshotEvery) {
		require.NoError(t, write(awake, 2, b+1))
	}
	err := write(sleeper, 1, 1)
	require.Equal(t, diag.SinkFenced, diag.CodeOf(err), "%v", err)
	require.Error(t, errors.Join(write(sleeper, 1, 1)), "it stays fenced")
	require.NoError(t, write(awake, 2, 3*snapshotEvery+1))
	require.Len(t, place.Rows(), 3*snapshotEvery+2)

	names, err := mem.List(root + "/" + logDir)
	require.NoError(t, err)
	require.Less(t, len(names), 2*snapshotEvery, "the log is trimmed")
	require.NoError(t, write(open(3, 3*snapshotEvery+1), 3, 3*snapshotEvery+2))
}

func FuzzUnseal(f *testing.F) {
	good, _, err := seal(entry{Format: formatVersion, Kind: "json", Version: 3, Add: []FileInfo{{Path: "a=b/c"}}})
	require.NoError(f, err)
	for _, data := range [][]byte{good, nil, []byte("\n00000000\n"), []byte("{}\nffffffff\n"), good[:len(good)-1]} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var e entry
		sum, err := unseal("x", data, &e)
		if err != nil {
			require.NotEmpty(t, diag.CodeOf(err))
			return
		}
		again, sumAgain, err := seal(e)
		require.NoError(t, err)
		if string(again) == string(data) {
			require.Equal(t, sum, sumAgain)
		}
	})
}

// TestDamage flips one bit at a time of the log: it is noticed, or it changes nothing.
func TestDamage(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	_, err := scripts()[0].run(t, mem, 1, -1, false)
	require.NoError(t, err)
	want, err := Files(mem, root)
	require.NoError(t, err)
	name := root + "/" + logDir + "/0000000000000003.commit"
	data, err := vfs.ReadFile(mem, name)
	require.NoError(t, err)
	for i := range data {
		bad := append([]byte(nil), data...)
		bad[i] ^= 1 << (i % 8)
		require.NoError(t, vfs.WriteFile(mem, name, bad))
		got, err := Files(mem, root)
		if err == nil {
			require.Equal(t, want, got, "bit flipped in byte %d", i)
			continue
		}
		require.Equal(t, diag.LogCorrupt, diag.CodeOf(err), "byte %d: %v", i, err)
	}
	require.NoError(t, mem.Remove(name))
	_, err = Files(mem, root)
	require.Equal(t, diag.LogCorrupt, diag.CodeOf(err), "%v", err)
}
