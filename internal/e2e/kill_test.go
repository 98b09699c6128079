package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
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
	}, 20*time.Second, 10*time.Millisecond)
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
