package checkpoint_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// TestLayout shows what a user reads when a changed query meets its checkpoint. The input is the old layout,
// a line "--", and the new one.
func TestLayout(t *testing.T) {
	t.Parallel()
	datadriven.RunTest(t, "testdata/layout.txt", func(t *testing.T, d *datadriven.TestData) string {
		t.Helper()
		was, is, ok := strings.Cut(d.Input, "--")
		require.True(t, ok)
		m := meta()
		m.Layout = lines(was)
		c, _, err := checkpoint.Open(t.Context(), options(vfs.NewMem()), m)
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close(true)) }()
		if diff := checkpoint.DiffLayout(m.Layout, lines(is)); len(diff) > 0 {
			err := c.PlanChanged(diff, nil)
			require.Equal(t, diag.PlanChanged, diag.CodeOf(err))
			return diag.Render(err) + "\n"
		}
		return "the same\n"
	})
}

func lines(text string) []string {
	if text = strings.TrimSpace(text); text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// TestProtocol holds the order of file system calls of each step fixed.
func TestProtocol(t *testing.T) {
	t.Parallel()
	log := vfs.NewLogged(vfs.NewMem(), dir)
	var c *checkpoint.Checkpoint
	datadriven.RunTest(t, "testdata/protocol.txt", func(t *testing.T, d *datadriven.TestData) string {
		t.Helper()
		log.Reset()
		var err error
		switch d.Cmd {
		case "open":
			o := options(log)
			o.SegmentBatches, o.KeepBatches = 4, 1
			c, _, err = checkpoint.Open(t.Context(), o, meta())
		case "intend":
			err = c.Intend(intent(argInt(t, d)))
		case "stage":
			err = c.Stager().Stage(t.Context(), argInt(t, d), "out", []byte("rows"))
		case "exclude":
			err = c.Exclude(exclude(argInt(t, d)))
		case "commit":
			err = c.Commit(commit(argInt(t, d)))
		case "flush":
			err = c.Flush()
		case "snapshot":
			err = c.Snapshot(t.Context(), argInt(t, d), tablesAt(argInt(t, d)))
		case "close":
			err = c.Close(true)
		default:
			t.Fatalf("unknown step %q", d.Cmd)
		}
		require.NoError(t, err)
		return strings.Join(append(log.Changes(), ""), "\n")
	})
}

func argInt(t *testing.T, d *datadriven.TestData) int64 {
	t.Helper()
	var b int64
	d.ScanArgs(t, "batch", &b)
	return b
}

// TestFaultsSurface makes each call fail in turn with a full disk. The run stops and says why, and the next
// one finds what had been acknowledged.
func TestFaultsSurface(t *testing.T) {
	t.Parallel()
	for nth := 1; ; nth++ {
		below := vfs.NewMem()
		fault := vfs.NewFault(below, vfs.Rule{Nth: nth, Err: syscall.ENOSPC, Short: 5})
		a, err := lives(t, fault, meta())
		if fault.Injected() == 0 {
			require.NoError(t, err)
			require.Greater(t, nth, 250)
			return
		}
		require.ErrorIs(t, err, syscall.ENOSPC, "call %d", nth)
		checkRecovery(t, below.Crash(0, int64(nth)), meta(), a, "after fault")
	}
}

// fixture is a directory that format 1 wrote. TIDEMILL_WRITE_FIXTURES=1 writes it anew, which is right only
// together with a new format number and a new directory.
const fixture = "testdata/format-v1"

// TestFormat opens what format 1 wrote, and checks that the same steps still make the same bytes.
func TestFormat(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, small(fsys), meta())
	a := acked{}
	for b := range int64(8) {
		require.NoError(t, oneBatch(t, c, b, &a))
	}
	require.NoError(t, c.Intend(intent(8)))
	require.NoError(t, c.Close(true))
	now := tree(t, fsys, dir)
	if os.Getenv("TIDEMILL_WRITE_FIXTURES") != "" {
		for path, data := range now {
			to := filepath.Join(fixture, strings.TrimPrefix(path, dir))
			require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
			require.NoError(t, os.WriteFile(to, []byte(data), 0o600))
		}
	}
	old := vfs.NewMem()
	for path, data := range tree(t, vfs.OS{}, fixture) {
		to := filepath.Join(dir, strings.TrimPrefix(path, fixture))
		require.NoError(t, old.MkdirAll(filepath.Dir(to)))
		write(t, old, to, []byte(data))
	}
	require.Equal(t, now, tree(t, old, dir), "the bytes have changed without a new format")
	_, r := open(t, small(old), meta())
	require.Equal(t, commit(7), *r.Last)
	require.Equal(t, intent(8), *r.Pending)
	require.Equal(t, int64(7), r.Version)
	requireVersion(t, r, "")
	require.Equal(t, uint64(2), r.Epoch)
	require.Equal(t, uint32(0x89e3e6d), intent(7).CRC(), "the CRC of an Intent is in sinks' markers and never changes")
}
