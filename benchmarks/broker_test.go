package benchmarks

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWorkersReachTheBrokerOfTheRun asks that a broker of the user's environment is none of theirs.
func TestWorkersReachTheBrokerOfTheRun(t *testing.T) {
	t.Parallel()
	user := []string{"HOME=/h", "NATS_URL=nats://elsewhere:4222"}
	require.Equal(t, []string{"HOME=/h", "BENCH_DIR=d", "NATS_URL=nats://here:1"}, workerEnv(user, "nats://here:1", "d"))
	require.Equal(t, []string{"HOME=/h", "BENCH_DIR=d"}, workerEnv(user, "", "d"))
	require.Equal(t, []string{"HOME=/h", "NATS_URL=nats://elsewhere:4222"}, user)
}

// TestBrokersAreEmbeddedWhereTheirCostIsAsked asks that what a suite's report says of the broker is what runs.
func TestBrokersAreEmbeddedWhereTheirCostIsAsked(t *testing.T) {
	t.Parallel()
	for _, suite := range Suites() {
		r := newRun(suite, Options{Embedded: true})
		require.Equal(t, slices.Contains(Embeds(), suite), r.Embedded, suite)
		require.False(t, r.Embedded && r.SyncAlways, "the broker of a run does not sync each write")
	}
	require.Subset(t, Suites(), Embeds())
}

// TestLatencyLeavesASyncingBrokerTime asks that a broker that syncs each message gets few, of as many rows.
func TestLatencyLeavesASyncingBrokerTime(t *testing.T) {
	t.Parallel()
	for rate, want := range map[int64][2]int64{100: {1, 1}, 900: {1, 2}, 1_000: {1, 2}, 1_400: {1, 3}, 10_000: {1, 20}, 100_000: {100, 200}} {
		for i, sync := range []bool{false, true} {
			require.Equal(t, want[i], newRun("latency", Options{SyncAlways: sync}).latencyPack(rate))
		}
	}
}
