package duck

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWaitingIsIdle runs statements that one thread alone can work on. The other one must not use time to wait for it.
func TestWaitingIsIdle(t *testing.T) {
	const sql = "CREATE OR REPLACE TEMP TABLE t AS SELECT md5(i::VARCHAR) AS x FROM range(200000) r(i)"
	used := func(threads int) time.Duration {
		_, c := openTest(t, Options{Sealed: true, Threads: threads})
		before := cpuTime(t)
		for range 10 {
			_, err := c.Exec(t.Context(), sql)
			require.NoError(t, err)
		}
		return cpuTime(t) - before
	}
	one, two := used(1), used(2)
	require.Less(t, float64(two), 1.3*float64(one), "one thread %s, two %s", one, two)
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
