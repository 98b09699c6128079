// Package vfstest holds the tests that every vfs.FS passes. It says nothing about crashes: those need a file
// system that can be crashed, and the packages that write have such tests of their own.
package vfstest

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
)

// Factory returns a file system and an existing, empty directory in it. It is called once per test.
type Factory func(t *testing.T) (fsys vfs.FS, dir string)

// Run runs the suite.
func Run(t *testing.T, factory Factory) {
	t.Helper()
	tests := map[string]func(t *testing.T, fsys vfs.FS, dir string){
		"create":     testCreate,
		"append":     testAppend,
		"read":       testRead,
		"rename":     testRename,
		"rename new": testRenameNew,
		"link":       testLink,
		"remove":     testRemove,
		"truncate":   testTruncate,
		"mkdirall":   testMkdirAll,
		"list":       testList,
		"stat":       testStat,
		"absent":     testAbsent,
		"closed":     testClosed,
		"wrong kind": testWrongKind,
		"unlinked":   testUnlinked,
		"helpers":    testHelpers,
		"concurrent": testConcurrent,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			fsys, dir := factory(t)
			test(t, fsys, dir)
		})
	}
}

func write(t *testing.T, fsys vfs.FS, name, text string) {
	t.Helper()
	f, err := fsys.Create(name)
	require.NoError(t, err)
	n, err := f.Write([]byte(text))
	require.NoError(t, err)
	require.Equal(t, len(text), n)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}

func read(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name)
	require.NoError(t, err)
	return string(data)
}

func testCreate(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "a")
	write(t, fsys, name, "long text")
	write(t, fsys, name, "short")
	require.Equal(t, "short", read(t, fsys, name))

	f, err := fsys.Create(name)
	require.NoError(t, err)
	for _, part := range []string{"one ", "", "two"} {
		_, err = io.WriteString(f, part)
		require.NoError(t, err)
	}
	require.Equal(t, "one two", read(t, fsys, name), "a write is seen by others before Sync")
	got := make([]byte, 3)
	_, err = f.ReadAt(got, 4)
	require.NoError(t, err)
	require.Equal(t, "two", string(got))
	require.NoError(t, f.Close())
}

func testAppend(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "a")
	write(t, fsys, name, "one")
	a, err := fsys.Append(name)
	require.NoError(t, err)
	b, err := fsys.Append(name)
	require.NoError(t, err)
	for _, f := range []vfs.File{a, b, a} {
		_, err = io.WriteString(f, "+")
		require.NoError(t, err)
	}
	require.Equal(t, "one+++", read(t, fsys, name), "each write goes to the end as it is then")
	require.NoError(t, a.Sync())
	require.NoError(t, a.Close())
	require.NoError(t, b.Close())
}

func testRead(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "a")
	write(t, fsys, name, "0123456789")
	f, err := fsys.Open(name)
	require.NoError(t, err)
	buf := make([]byte, 4)
	_, err = io.ReadFull(f, buf)
	require.NoError(t, err)
	require.Equal(t, "0123", string(buf))
	n, err := f.ReadAt(buf, 8)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "89", string(buf[:n]))
	n, err = f.ReadAt(buf, 100)
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, n)
	_, err = f.ReadAt(buf, -1)
	require.Error(t, err)
	rest, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "456789", string(rest), "ReadAt leaves the place of Read alone")
	_, err = f.Write([]byte("x"))
	require.Error(t, err, "a file opened for reading can not be written")
	require.NoError(t, f.Close())
}

func testRename(t *testing.T, fsys vfs.FS, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, fsys, a, "new")
	write(t, fsys, b, "old")
	require.NoError(t, fsys.Rename(a, b))
	require.NoError(t, fsys.SyncDir(dir))
	require.Equal(t, "new", read(t, fsys, b))
	_, err := fsys.Stat(a)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, fsys.Rename(b, b))
	require.Equal(t, "new", read(t, fsys, b))

	sub := filepath.Join(dir, "sub")
	require.NoError(t, fsys.MkdirAll(sub))
	require.NoError(t, fsys.Rename(b, filepath.Join(sub, "c")))
	require.Equal(t, "new", read(t, fsys, filepath.Join(sub, "c")))
	require.NoError(t, fsys.Rename(sub, filepath.Join(dir, "other")))
	require.Equal(t, "new", read(t, fsys, filepath.Join(dir, "other", "c")))
	require.ErrorIs(t, fsys.Rename(a, b), fs.ErrNotExist)
	require.Error(t, fsys.Rename(filepath.Join(dir, "other", "c"), filepath.Join(dir, "other")))
}

func testRenameNew(t *testing.T, fsys vfs.FS, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, fsys, a, "new")
	write(t, fsys, b, "old")
	require.ErrorIs(t, fsys.RenameNew(a, b), fs.ErrExist)
	require.Equal(t, "old", read(t, fsys, b))
	require.Equal(t, "new", read(t, fsys, a), "nothing has moved")
	require.NoError(t, fsys.Remove(b))
	require.NoError(t, fsys.RenameNew(a, b))
	require.Equal(t, "new", read(t, fsys, b))
	require.ErrorIs(t, fsys.RenameNew(a, b), fs.ErrNotExist)
	names, err := fsys.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"b"}, names)

	var wg sync.WaitGroup
	won := make([]error, 4)
	for i := range won {
		write(t, fsys, fmt.Sprint(a, i), fmt.Sprint(i))
		wg.Go(func() { won[i] = fsys.RenameNew(fmt.Sprint(a, i), filepath.Join(dir, "c")) })
	}
	wg.Wait()
	winner := slices.Index(won, nil)
	require.NotEqual(t, -1, winner)
	require.Equal(t, fmt.Sprint(winner), read(t, fsys, filepath.Join(dir, "c")))
	require.NotContains(t, won[winner+1:], error(nil), "one wins")
}

func testLink(t *testing.T, fsys vfs.FS, dir string) {
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	write(t, fsys, a, "one")
	require.NoError(t, fsys.Link(a, b))
	require.NoError(t, fsys.SyncDir(dir))
	require.Equal(t, "one", read(t, fsys, b))
	require.ErrorIs(t, fsys.Link(a, b), fs.ErrExist)
	f, err := fsys.Append(a)
	require.NoError(t, err)
	_, err = f.Write([]byte("+"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, "one+", read(t, fsys, b), "both are the same file")
	write(t, fsys, filepath.Join(dir, "c"), "two")
	require.NoError(t, fsys.Rename(filepath.Join(dir, "c"), a))
	require.Equal(t, "two", read(t, fsys, a))
	require.Equal(t, "one+", read(t, fsys, b), "a file put over one name leaves the other")
	require.NoError(t, fsys.Remove(a))
	require.Equal(t, "one+", read(t, fsys, b))
	require.ErrorIs(t, fsys.Link(a, filepath.Join(dir, "d")), fs.ErrNotExist)
	require.Error(t, fsys.Link(b, filepath.Join(dir, "nowhere", "d")))
	require.Error(t, fsys.Link(dir, filepath.Join(dir, "e")), "directories have one name")
}

func testRemove(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "sub", "a")
	require.NoError(t, fsys.MkdirAll(filepath.Dir(name)))
	write(t, fsys, name, "x")
	require.Error(t, fsys.Remove(filepath.Dir(name)), "the directory is not empty")
	require.NoError(t, fsys.Remove(name))
	require.NoError(t, fsys.Remove(filepath.Dir(name)))
	require.ErrorIs(t, fsys.Remove(name), fs.ErrNotExist)
}

func testTruncate(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "a")
	write(t, fsys, name, "0123456789")
	require.NoError(t, fsys.Truncate(name, 4))
	require.Equal(t, "0123", read(t, fsys, name))
	f, err := fsys.Append(name)
	require.NoError(t, err)
	_, err = io.WriteString(f, "x")
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	require.Equal(t, "0123x", read(t, fsys, name))
	require.NoError(t, fsys.Truncate(name, 7))
	require.Equal(t, "0123x\x00\x00", read(t, fsys, name))
	require.Error(t, fsys.Truncate(name, -1))
}

func testMkdirAll(t *testing.T, fsys vfs.FS, dir string) {
	deep := filepath.Join(dir, "a", "b", "c")
	require.NoError(t, fsys.MkdirAll(deep))
	require.NoError(t, fsys.MkdirAll(deep))
	info, err := fsys.Stat(deep)
	require.NoError(t, err)
	require.True(t, info.IsDir())
	require.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	write(t, fsys, filepath.Join(deep, "f"), "x")
	require.Error(t, fsys.MkdirAll(filepath.Join(deep, "f")))
	require.Error(t, fsys.MkdirAll(filepath.Join(deep, "f", "g")))
}

func testList(t *testing.T, fsys vfs.FS, dir string) {
	names, err := fsys.List(dir)
	require.NoError(t, err)
	require.Empty(t, names)
	for _, name := range []string{"b", "a", "B", "a.tmp"} {
		write(t, fsys, filepath.Join(dir, name), name)
	}
	require.NoError(t, fsys.MkdirAll(filepath.Join(dir, "aa", "x")))
	names, err = fsys.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"B", "a", "a.tmp", "aa", "b"}, names)
}

func testStat(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "a")
	write(t, fsys, name, "123")
	info, err := fsys.Stat(name)
	require.NoError(t, err)
	require.Equal(t, "a", info.Name())
	require.EqualValues(t, 3, info.Size())
	require.False(t, info.IsDir())
	require.Equal(t, fs.FileMode(0o600), info.Mode())
}

func testAbsent(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "absent")
	_, err := fsys.Open(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fsys.Append(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fsys.Stat(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = fsys.List(name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorIs(t, fsys.Truncate(name, 0), fs.ErrNotExist)
	require.ErrorIs(t, fsys.SyncDir(name), fs.ErrNotExist)
	_, err = fsys.Create(filepath.Join(name, "a"))
	require.ErrorIs(t, err, fs.ErrNotExist)
	var pathError *fs.PathError
	require.ErrorAs(t, err, &pathError)
}

func testClosed(t *testing.T, fsys vfs.FS, dir string) {
	f, err := fsys.Create(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = f.Write([]byte("x"))
	require.ErrorIs(t, err, fs.ErrClosed)
	_, err = f.Read(make([]byte, 1))
	require.ErrorIs(t, err, fs.ErrClosed)
	require.ErrorIs(t, f.Sync(), fs.ErrClosed)
	require.ErrorIs(t, f.Close(), fs.ErrClosed)
}

func testWrongKind(t *testing.T, fsys vfs.FS, dir string) {
	file := filepath.Join(dir, "a")
	write(t, fsys, file, "x")
	_, err := fsys.Create(dir)
	require.Error(t, err)
	_, err = fsys.Append(dir)
	require.Error(t, err)
	_, err = fsys.List(file)
	require.Error(t, err)
	_, err = fsys.Open(filepath.Join(file, "b"))
	require.Error(t, err)
	_, err = vfs.ReadFile(fsys, dir)
	require.Error(t, err)
}

func testUnlinked(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "a")
	write(t, fsys, name, "text")
	f, err := fsys.Open(name)
	require.NoError(t, err)
	require.NoError(t, fsys.Remove(name))
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "text", string(got), "an open file outlives its name")
	require.NoError(t, f.Close())
}

func testHelpers(t *testing.T, fsys vfs.FS, dir string) {
	name := filepath.Join(dir, "a")
	require.NoError(t, vfs.WriteFile(fsys, name, []byte("one")))
	require.NoError(t, vfs.WriteFile(fsys, name, []byte("two")))
	require.Equal(t, "two", read(t, fsys, name))
	names, err := fsys.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, names, "nothing else is left behind")
	_, err = vfs.ReadFile(fsys, filepath.Join(dir, "b"))
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func testConcurrent(t *testing.T, fsys vfs.FS, dir string) {
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			text := strings.Repeat(fmt.Sprint(i), 100)
			errs[i] = vfs.WriteFile(fsys, filepath.Join(dir, fmt.Sprint(i)), []byte(text))
		})
	}
	wg.Wait()
	for i, err := range errs {
		require.NoError(t, err)
		require.Equal(t, strings.Repeat(fmt.Sprint(i), 100), read(t, fsys, filepath.Join(dir, fmt.Sprint(i))))
	}
}
