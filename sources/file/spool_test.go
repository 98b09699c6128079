package file

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sources/sourcetest"
	"github.com/tidemill/tidemill/stream"
)

// owned is a fixture whose sources belong to a query.
func owned(t *testing.T, format, mode string) *fixture {
	t.Helper()
	f := newFixture(t, format)
	f.query, f.options["spool"] = "0a0b", mode
	return f
}

func (f *fixture) spoolNames(t *testing.T) []string {
	t.Helper()
	list, err := vfs.OS{}.List(filepath.Join(f.data, "spool"))
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return list
}

func TestContractWithSpool(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{spoolLink, spoolCopy, spoolOff} {
		t.Run(mode, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T) sourcetest.Harness {
				f := owned(t, "ndjson", mode)
				return sourcetest.Harness{Open: f.open, Add: func(t *testing.T, n int) {
					for range n {
						f.put(t, fmt.Sprintf("%04d", 9999-f.n), fmt.Sprintf("{\"id\":%d}\n", f.n))
					}
				}}
			}, sourcetest.Features{Files: true, Bytes: true})
		})
	}
}

// spoils are what can happen to an input file after a batch has taken it, and whether a hard link outlives it before
// the first read and after it.
func spoils() map[string]struct {
	do                  func(path string) error
	linkFresh, linkRead bool
} {
	replace := func(text string) func(path string) error {
		return func(path string) error {
			if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".tmp", path)
		}
	}
	return map[string]struct {
		do                  func(path string) error
		linkFresh, linkRead bool
	}{
		"removed":          {os.Remove, true, true},
		"moved away":       {func(p string) error { return os.Rename(p, filepath.Join(filepath.Dir(p), "_old")) }, true, true},
		"replaced":         {replace("{\"id\":77}\n"), true, true},
		"replaced alike":   {replace("{\"id\":8}\n"), true, true},
		"appended":         {func(p string) error { return appendTo(p, "{\"id\":3}\n") }, false, true},
		"cut":              {func(p string) error { return os.Truncate(p, 0) }, false, false},
		"written in place": {func(p string) error { return os.WriteFile(p, []byte("{\"id\":8}\n"), 0o600) }, true, false},
	}
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Close()
}

// TestSpoolOutlivesInputs changes an input file after Available has named it, before the first Read and after it, and
// asks a new process for the range.
func TestSpoolOutlivesInputs(t *testing.T) {
	t.Parallel()
	for name, spoil := range spoils() {
		for _, mode := range []string{spoolLink, spoolCopy} {
			for _, read := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s read %v", name, mode, read), func(t *testing.T) {
					t.Parallel()
					f := owned(t, "ndjson", mode)
					f.put(t, "a", "{\"id\":1}\n")
					path := f.put(t, "b", "{\"id\":2}\n")
					s := f.open(t)
					r := rangeTo(t, s)
					want := []string{"{\"id\":1}\n", "{\"id\":2}\n"}
					if read {
						in, err := s.Read(t.Context(), r)
						require.NoError(t, err)
						require.Equal(t, want, payloads(in))
					}
					require.NoError(t, s.Close())
					require.NoError(t, spoil.do(path))
					s = f.open(t)
					defer s.Close()
					a, err := s.Available(t.Context(), "0", r.Identity, stream.Limit{Until: "2"})
					require.NoError(t, err, "what is spooled need not be there")
					require.Equal(t, r.To, a.To)
					in, err := s.Read(t.Context(), r)
					if mode == spoolLink && (read && !spoil.linkRead || !read && !spoil.linkFresh) {
						require.Equal(t, diag.DataLoss, diag.CodeOf(err), "%v", err)
						text := diag.Render(err)
						require.Contains(t, text, path)
						require.Contains(t, text, "spool = 'copy'")
						return
					}
					require.NoError(t, err)
					if mode == spoolLink && name == "written in place" {
						want[1] = "{\"id\":8}\n" // nobody had read it: these are its only rows
					}
					require.Equal(t, want, payloads(in))
					require.Equal(t, path, in.Messages.File[1], "rows keep the name of their file")
				})
			}
		}
	}
}

// TestSpoolPutBack asks that a linked file which was written in place is read again once it is put back as it was.
func TestSpoolPutBack(t *testing.T) {
	t.Parallel()
	f := owned(t, "ndjson", spoolLink)
	path := f.put(t, "a", "{\"id\":1}\n")
	s := f.open(t)
	defer s.Close()
	in, r := all(t, s)
	require.NoError(t, os.WriteFile(path, []byte("{\"id\":5}\n"), 0o600))
	_, err := s.Read(t.Context(), r)
	require.Equal(t, diag.DataLoss, diag.CodeOf(err))
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.WriteFile(path, []byte("{\"id\":1}\n"), 0o600))
	again, err := s.Read(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, in.CRC, again.CRC)
	require.Positive(t, sourcetest.SamePieces(t, s, r, again).Cuts, "what the linked file has now")
}

func TestSpoolIsFreedByAcknowledge(t *testing.T) {
	t.Parallel()
	for mode, suffix := range map[string]string{spoolLink: linkSuffix, spoolCopy: copySuffix} {
		f := owned(t, "ndjson", mode)
		var paths []string
		for i := range 4 {
			paths = append(paths, f.put(t, strconv.Itoa(i), "{}\n"))
		}
		s := f.open(t)
		a, err := s.Available(t.Context(), "0", "", stream.Limit{Files: 3})
		require.NoError(t, err)
		require.Equal(t, []string{"1" + suffix, "2" + suffix, "3" + suffix}, f.spoolNames(t), "the range and no more")
		require.NoError(t, s.Acknowledge(t.Context(), "2"))
		require.NoError(t, s.Acknowledge(t.Context(), "1"))
		require.Equal(t, []string{"3" + suffix}, f.spoolNames(t))
		for _, p := range paths[:3] {
			require.NoError(t, os.Remove(p))
		}
		_, err = s.Read(t.Context(), stream.Range{From: "0", To: a.To})
		require.Equal(t, diag.DataLoss, diag.CodeOf(err), "what is acknowledged is gone")
		in, err := s.Read(t.Context(), stream.Range{From: "2", To: "3"})
		require.NoError(t, err)
		require.Equal(t, 1, in.Messages.Len())
		require.NoError(t, s.Close())

		s = f.open(t) // a new process frees what an old one kept
		require.NoError(t, s.Acknowledge(t.Context(), "3"))
		require.Empty(t, f.spoolNames(t))
		require.NoError(t, s.Close())
	}
}

func TestDamagedSpoolIsRefused(t *testing.T) {
	t.Parallel()
	f := owned(t, "ndjson", spoolCopy)
	path := f.put(t, "a", "{\"id\":1}\n")
	s := f.open(t)
	defer s.Close()
	r := rangeTo(t, s)
	require.NoError(t, os.Remove(path))
	spooled := filepath.Join(f.data, "spool", "1.copy")
	good, err := os.ReadFile(spooled)
	require.NoError(t, err)
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 4
		for _, damaged := range [][]byte{bad, good[:i]} {
			require.NoError(t, os.WriteFile(spooled, damaged, 0o600))
			_, err = s.Read(t.Context(), r)
			require.Equal(t, diag.StateCorrupt, diag.CodeOf(err), "damage is found before the first read too")
			require.ErrorContains(t, err, spooled)
		}
	}
	require.NoError(t, os.WriteFile(spooled, good, 0o600))
	_, err = s.Read(t.Context(), r)
	require.NoError(t, err)
}

// TestSpoolIsOnlyForQueries asks that a batch run keeps nothing, and that a look at a query's data changes nothing.
func TestSpoolIsOnlyForQueries(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "ndjson")
	f.options["spool"] = spoolCopy
	path := f.put(t, "a", "{\"id\":1}\n")
	s := f.open(t)
	all(t, s)
	require.NoError(t, s.Close())
	_, err := os.Stat(filepath.Join(f.data, "spool"))
	require.ErrorIs(t, err, os.ErrNotExist)

	f.query = "0a0b"
	s = f.open(t)
	r := rangeTo(t, s)
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(path))
	f.query = ""
	s = f.open(t)
	_, err = s.Read(t.Context(), r)
	require.NoError(t, err, "a look reads what the query kept")
	require.NoError(t, s.Acknowledge(t.Context(), "1"))
	require.Equal(t, []string{"1.copy"}, f.spoolNames(t))
	require.NoError(t, s.Close())
}

func TestSpoolOff(t *testing.T) {
	t.Parallel()
	f := owned(t, "ndjson", spoolOff)
	path := f.put(t, "a", "{\"id\":1}\n")
	s := f.open(t)
	defer s.Close()
	_, r := all(t, s)
	require.Empty(t, f.spoolNames(t))
	require.NoError(t, os.Remove(path))
	_, err := s.Read(t.Context(), r)
	require.Equal(t, diag.DataLoss, diag.CodeOf(err))
}

// TestSpoolBecomesACopy asks for a copy where the file system can not link, also through a name that is a link by an
// attempt that died.
func TestSpoolBecomesACopy(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{syscall.EXDEV, syscall.EPERM, syscall.EMLINK} {
		mem := vfs.NewMem()
		require.NoError(t, mem.MkdirAll("/in"))
		fault := vfs.NewFault(mem, vfs.Rule{Op: vfs.OpLink, Err: cause})
		putMem(t, mem, "/in/a.ndjson", "{\"id\":1}\n")
		s := memSource(t, fault)
		r := rangeTo(t, s)
		require.NoError(t, mem.Remove("/in/a.ndjson"))
		in, err := s.Read(t.Context(), r)
		require.NoError(t, err)
		require.Equal(t, []string{"{\"id\":1}\n"}, payloads(in))
		names, err := mem.List("/data/f/spool")
		require.NoError(t, err)
		require.Equal(t, []string{"1.copy"}, names)
		require.NoError(t, s.Close())
	}
}

// TestLostBeforeItWasTaken asks that a file which no batch has taken yet is DATA_LOSS when it is gone or another, or
// skipped if the user says so, and that the spool does not keep the wrong one.
func TestLostBeforeItWasTaken(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{spoolLink, spoolCopy} {
		for name, spoil := range map[string]func(string) error{"gone": os.Remove,
			"grown": func(p string) error { return appendTo(p, "{}\n") }} {
			f := owned(t, "ndjson", mode)
			f.put(t, "a", "{\"id\":1}\n")
			path := f.put(t, "b", "{\"id\":2}\n")
			s := f.open(t)
			a, err := s.Available(t.Context(), "0", "", stream.Limit{Files: 1})
			require.NoError(t, err)
			require.NoError(t, spoil(path))
			_, err = s.Available(t.Context(), a.To, a.Identity, stream.Limit{})
			require.Equal(t, diag.DataLoss, diag.CodeOf(err), name)
			require.ErrorContains(t, err, path)
			require.Len(t, f.spoolNames(t), 1)
			require.NoError(t, s.Close())
			f.options["on_data_loss"] = "skip"
			s = f.open(t)
			in, err := s.Read(t.Context(), rangeTo(t, s))
			require.NoError(t, err)
			require.Equal(t, int64(1), in.Lost)
			require.NoError(t, s.Close())
		}
	}
}

// TestLostLogClearsTheSpool asks that files of a log that is gone are not taken for those of its successor.
func TestLostLogClearsTheSpool(t *testing.T) {
	t.Parallel()
	f := owned(t, "ndjson", spoolLink)
	path := f.put(t, "a", "{\"id\":1}\n")
	s := f.open(t)
	rangeTo(t, s)
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Remove(filepath.Join(f.data, logName)))
	f.put(t, "b", "{\"id\":2}\n")
	s = f.open(t)
	defer s.Close()
	in, _ := all(t, s)
	require.Equal(t, []string{"{\"id\":2}\n"}, payloads(in))
}

func TestFailedSpoolNamesNoRange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode  string
		rule  vfs.Rule
		again bool // a later try may go well
	}{
		{spoolLink, vfs.Rule{Op: vfs.OpSync, Path: ".link.tmp", Nth: 1, Err: syscall.EIO}, false},
		{spoolLink, vfs.Rule{Op: vfs.OpSyncDir, Path: "spool", Nth: 1, Err: syscall.EIO}, false},
		{spoolLink, vfs.Rule{Op: vfs.OpRename, Path: ".link.tmp", Nth: 1, Err: syscall.EIO}, true},
		{spoolCopy, vfs.Rule{Op: vfs.OpWrite, Path: ".copy.tmp", Nth: 1, Err: syscall.ENOSPC, Short: 3}, true},
		{spoolCopy, vfs.Rule{Op: vfs.OpSync, Path: ".copy.tmp", Nth: 1, Err: syscall.EIO}, false},
		{spoolCopy, vfs.Rule{Op: vfs.OpSync, Path: logName, Nth: 3, Err: syscall.EIO}, false},
	} {
		mem := vfs.NewMem()
		require.NoError(t, mem.MkdirAll("/in"))
		putMem(t, mem, "/in/a.ndjson", "{\"id\":1}\n")
		fault := vfs.NewFault(mem, c.rule)
		s := memSource(t, fault)
		s.cfg.Options["spool"] = c.mode
		_, err := s.Available(t.Context(), "0", "", stream.Limit{})
		require.ErrorIs(t, err, c.rule.Err, "%v", c.rule)
		a, err := s.Available(t.Context(), "0", "", stream.Limit{})
		if c.again {
			require.NoError(t, err)
			require.Equal(t, stream.Offset("1"), a.To)
		} else {
			require.ErrorIs(t, err, c.rule.Err, "a failed sync is final: %v", c.rule)
		}
		_ = s.Close()
		again := memSource(t, mem.Crash(0, 1))
		a, err = again.Available(t.Context(), "0", "", stream.Limit{})
		require.NoError(t, err)
		in, err := again.Read(t.Context(), stream.Range{From: "0", To: a.To})
		require.NoError(t, err)
		require.Equal(t, []string{"{\"id\":1}\n"}, payloads(in))
		require.NoError(t, again.Close())
	}
}
