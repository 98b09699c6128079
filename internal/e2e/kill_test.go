package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// kills is how often TestKill kills the program: 20 times, or TIDEMILL_E2E_KILLS.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TIDEMILL_E2E_KILLS")
	if text == "" {
		return 20
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// TestKill kills the program at random moments while rows arrive. In the end the sinks hold what one run of plain
// DuckDB over the stream gives, each row once.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	r := newRig(t)
	stop := r.produce()
	for range kills(t) {
		r.kill(r.start(), r.between(50*time.Millisecond, 1200*time.Millisecond))
	}
	stop()
	r.drain()
	r.verify()
	require.Positive(t, r.early, "it is killed while a batch is computed and the one before delivered")
}

// TestServerRestart restarts the NATS server under the running program, which is killed in between.
func TestServerRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes half a minute")
	}
	r := newRig(t)
	stop := r.produce()
	for range 2 {
		c := r.start()
		<-time.After(r.between(500*time.Millisecond, 1500*time.Millisecond))
		r.server.Restart()
		r.kill(c, r.between(500*time.Millisecond, 2500*time.Millisecond))
	}
	stop()
	r.drain()
	r.verify()
}

// TestTwoProcesses asks that a data directory has one owner, that the second process says who it is, and that the
// first one, told to stop, finishes its batches.
func TestTwoProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	r := newRig(t)
	stop := r.produce()
	first := r.start()
	require.Eventually(t, func() bool {
		data, err := os.ReadFile(r.path("data/to_files/LOCK"))
		return err == nil && len(data) > 0
	}, patience, 10*time.Millisecond)
	second := r.start()
	var exit *exec.ExitError
	require.ErrorAs(t, second.wait(), &exit)
	require.Equal(t, 4, exit.ExitCode(), "%s", second.stderr.String())
	require.Contains(t, second.stderr.String(), "CHECKPOINT_LOCKED")
	require.Contains(t, second.stderr.String(), fmt.Sprintf("process %d", first.cmd.Process.Pid))
	<-time.After(r.between(time.Second, 2*time.Second))
	require.NoError(t, first.cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, first.wait(), "%s", first.stderr.String())
	stop()
	r.drain()
	r.verify()
}

// TestSecondInterrupt asks that the program is gone soon after a second interrupt, whatever DuckDB is in.
func TestSecondInterrupt(t *testing.T) {
	dir := t.TempDir()
	sql := fmt.Sprintf(`CREATE SOURCE s (id BIGINT) WITH (connector = 'generator', rows = 4, fields = 'id: seq()');
CREATE SINK o WITH (connector = 'json', path = '%s');
CREATE QUERY q INTO o AS SELECT id, list_sum(range(300000000 + id)) AS x FROM s;`, filepath.Join(dir, "out"))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "app.sql"), []byte(sql), 0o600))
	c := exec.Command(os.Getenv(binary), "run", filepath.Join(dir, "app.sql"), "--data-dir", filepath.Join(dir, "data"),
		"--listen", "off", "--progress", "off", "--memory-limit", "16 GiB")
	stderr, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	require.Eventually(t, func() bool { // its batch has begun, which an interrupt lets end
		batches, err := exec.Command(os.Getenv(binary), "batches", "q", "--data-dir", filepath.Join(dir, "data")).Output()
		return err == nil && strings.Contains(string(batches), `"result":"unfinished"`)
	}, patience, 10*time.Millisecond)
	<-time.After(time.Second) // until DuckDB is in the midst of it, in most runs
	require.NoError(t, c.Process.Signal(os.Interrupt))
	said := bufio.NewReader(stderr)
	line, err := said.ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "interrupt again to stop at once")
	require.NoError(t, c.Process.Signal(os.Interrupt))
	began := time.Now()
	_, err = io.Copy(io.Discard, said)
	require.NoError(t, err)
	require.Error(t, c.Wait())
	require.Equal(t, 130, c.ProcessState.ExitCode())
	require.Less(t, time.Since(began), 10*time.Second)
}
