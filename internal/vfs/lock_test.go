package vfs_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
)

// TestMain lets a test start this program as another process that takes a lock and waits for the end of its
// input.
func TestMain(m *testing.M) {
	if dir := os.Getenv("VFS_TEST_LOCK"); dir != "" {
		lock, err := vfs.Lock(dir, "child")
		fmt.Println(err)
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		if err == nil {
			_ = lock.Close()
		}
		return
	}
	os.Exit(m.Run())
}

func TestLock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := vfs.Lock(dir, "query\nrevenue")
	require.NoError(t, err)
	require.NoError(t, check(lock))

	_, err = vfs.Lock(dir, "")
	var held *vfs.LockedError
	require.ErrorAs(t, err, &held)
	host, err := os.Hostname()
	require.NoError(t, err)
	require.Equal(t, &vfs.LockedError{
		Path: filepath.Join(dir, "LOCK"), PID: strconv.Itoa(os.Getpid()), Host: host, Info: "query revenue",
	}, held)
	require.Contains(t, held.Error(), "is locked by process "+held.PID)

	require.NoError(t, lock.Close())
	require.NoError(t, lock.Close())
	require.FileExists(t, filepath.Join(dir, "LOCK"))
	lock, err = vfs.Lock(dir, "")
	require.NoError(t, err)
	require.NoError(t, lock.Close())
}

func TestLockFileReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock, err := vfs.Lock(dir, "")
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "LOCK")))
	require.ErrorIs(t, check(lock), os.ErrNotExist)
	second, err := vfs.Lock(dir, "")
	require.NoError(t, err, "a removed lock file lets a second owner in, which the first one notices")
	require.ErrorContains(t, check(lock), "replaced")
	require.NoError(t, check(second))
	require.NoError(t, second.Close())
	require.NoError(t, lock.Close())
}

func TestLockOfKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), self)
	child.Env = append(os.Environ(), "VFS_TEST_LOCK="+dir)
	_, err = child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "<nil>\n", line)

	_, err = vfs.Lock(dir, "")
	var held *vfs.LockedError
	require.ErrorAs(t, err, &held)
	require.Equal(t, strconv.Itoa(child.Process.Pid), held.PID)
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	lock, err := vfs.Lock(dir, "")
	require.NoError(t, err, "the kernel gives the lock back")
	require.NoError(t, lock.Close())
}

func TestLockAbsentDirectory(t *testing.T) {
	t.Parallel()
	lock, err := vfs.Lock(filepath.Join(t.TempDir(), "absent"), "")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Nil(t, lock)
}

func check(lock io.Closer) error { return lock.(*vfs.DirLock).Check() }
