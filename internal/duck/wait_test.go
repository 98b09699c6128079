package duck

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWaitingIsIdle runs statements that one thread alone can work on. The other one must not use time to wait for it. They run in
// turns: what else the machine does makes both dearer.
func TestWaitingIsIdle(t *testing.T) {
	const sql = "CREATE OR REPLACE TEMP TABLE t AS SELECT md5(i::VARCHAR) AS x FROM range(200000) r(i)"
	var conns [2]*Conn
	for i := range conns {
		_, conns[i] = openTest(t, Options{Sealed: true, Threads: i + 1})
	}
	var used [2]time.Duration
	for range 10 {
		for i, c := range conns {
			before := cpuTime(t)
			_, err := c.Exec(t.Context(), sql)
			require.NoError(t, err)
			used[i] += cpuTime(t) - before
		}
	}
	require.Less(t, float64(used[1]), 1.3*float64(used[0]), "one thread %s, two %s", used[0], used[1])
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
