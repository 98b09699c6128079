package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
)

// TestMain lets this binary be the process of the engine that the suites start.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == EngineCommand {
		if err := Engine(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// smoke runs a small suite and returns its report, which must be printable.
func smoke(t *testing.T, suite string, o Options) *Report {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	o.Binary, o.Dir, o.Log, o.Seed, o.Threads = self, t.TempDir(), t.Output(), 3, 1
	r, err := Run(t.Context(), suite, o)
	require.NoError(t, err)
	require.Contains(t, r.Markdown(), "## "+suite)
	return r
}

func TestStateSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "state", Options{Keys: []int64{500, 2_000}, BatchCount: 3})
	require.Len(t, r.Result.(*State).Runs, 2)
	s := r.Result.(*State).Runs[1]
	require.Equal(t, []verified{{"state", 2_000}, {"state after the recovery", 2_000}}, s.Verified)
	require.Len(t, s.Sizes, 3)
	require.Equal(t, int64(3*2_000), s.Sizes[0].Out, "100,000 random rows reach every one of 2,000 keys")
	require.Equal(t, 30, s.Sizes[1].Steps)
	require.Less(t, s.Sizes[1].Out, int64(30*1_000+1))
	require.Positive(t, s.Sizes[1].Execute.P50)
	require.Greater(t, s.Sizes[0].Batch.P50, s.Sizes[0].Execute.P50, "execute is a part of its batch")
	require.Greater(t, s.Sizes[0].Step.P50, s.Sizes[0].Batch.P50, "and a batch of its step")
	require.Positive(t, s.LoadedBytes)
	require.Positive(t, s.Recovery.Reruns+s.Versions.Count, "the killed process left batches behind its last version")
	require.Greater(t, s.Recovery.Seconds, s.Recovery.OpenSeconds)
	require.Greater(t, s.DiskPerKey, 16.0)
	require.Greater(t, s.PerKey, 24.0)
	require.Greater(t, s.GrownPerKey, s.PerKey, "the process keeps more than state")
	require.Positive(t, s.Sustained)
	require.Contains(t, r.Markdown(), "Verified state after the recovery: 2000 rows equal plain DuckDB.")
}

// TestVersions asks that a batch counts as beside a version if they had a moment in common.
func TestVersions(t *testing.T) {
	t.Parallel()
	o := &outcome{Steps: 5, Kept: []kept{{At: 10, Held: 1, Millis: 20}}, Laps: []lap{{Step: 0, In: 9},
		{Step: 1, At: 0, Millis: 10, In: 7}, {Step: 2, At: 10, Millis: 5, In: 7}, {Step: 3, At: 29, Millis: 6, In: 7},
		{Step: 4, At: 30, Millis: 7, In: 7}}}
	v := versionsOf(o, 1)
	require.Len(t, v.Sizes, 1)
	require.Equal(t, 2, v.Sizes[0].With)
	require.InDelta(t, 6, v.Sizes[0].WithMs.Max, 1e-9)
	require.InDelta(t, 10, v.Sizes[0].Without.Max, 1e-9)
	require.Equal(t, 1, v.Count)
	require.Equal(t, "| 3 | 1 | 20 | 20 | 1.0 | 1.0 | 7 | 2 | 5.0 | 6.0 | 6.0 | 7.0 | 10.0 | 10.0 |\n", v.rows(3))
	none := versionsOf(&outcome{Steps: 1, Laps: []lap{{Millis: 4, In: 7}}}, 0)
	require.Equal(t, "| 3 | 0 | — | — | — | — | 7 | 0 | — | — | — | 4.0 | 4.0 | 4.0 |\n", none.rows(3), "no figures of no versions")
}

func TestHopSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "hop", Options{Rows: 25_000, BatchRows: 4_000, Rate: 500})
	h := r.Result.(*Hop)
	require.Len(t, h.Windows, 2)
	require.Len(t, h.Verified, 2)
	for i, w := range h.Windows {
		require.Equal(t, h.Verified[i].Rows, w.Out, "%s: every window came out once", w.Query)
		require.Equal(t, 7, w.Steps)
		require.Positive(t, w.RowsPerSecond)
	}
	require.Greater(t, h.Windows[1].Out, 4*h.Windows[0].Out)
	require.InDelta(t, h.Windows[1].Seconds/h.Windows[0].Seconds, h.Ratio, 1e-9)
}

func TestJoinSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "join", Options{Rate: 20, Duration: 1}) // a nanosecond: one step after the state is full
	j := r.Result.(*Join)
	require.Equal(t, 1, j.Steps)
	require.Positive(t, j.StateRows)
	require.Len(t, j.Verified, 1)
	require.Greater(t, j.Verified[0].Rows, int64(20*pairSeconds/2))
	require.Positive(t, j.First)
	require.Contains(t, r.Markdown(), "1 batches of 40 rows")
	require.Contains(t, r.Markdown(), "](join-rate.svg)")
	words(t, r.plots(), map[string][]string{"rate": {"while the state fills", "with a minute of state", "goal"}})
}

func TestEvictSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "evict", Options{Keys: []int64{10}, Groups: []int64{50, 400}, BatchCount: 4})
	open := r.Result.(*Evict).Open
	require.Len(t, open, 2)
	for i, o := range open {
		require.Equal(t, int64(4*10), o.Out, "ten groups leave with each batch")
		require.Equal(t, int64([]int{50, 400}[i]+60), o.Verified[0].Rows, "in the end every group came out once")
		require.GreaterOrEqual(t, o.StateRows, o.Groups)
	}
}

// TestNexmarkSuite asks for figures of what is verified alone, and for the same result wherever the events come from.
func TestNexmarkSuite(t *testing.T) {
	t.Parallel()
	hashes := map[string]string{}
	for _, input := range []string{"", inputNDJSON, inputMemory} {
		r := smoke(t, "nexmark", Options{Rows: 2_000, BatchRows: 500, Rate: 50, Input: input,
			Queries: []string{"q1", "q5", "q11", "q12", "q18"}})
		require.Len(t, r.Result.(*Nexmark).Queries, 5)
		for _, q := range r.Result.(*Nexmark).Queries {
			require.Equal(t, "verified", q.verdict()[len(q.verdict())-8:], q.Query)
			require.True(t, q.Verified, q.Query)
			require.Positive(t, q.PerCPU)
			require.InDelta(t, q.PerCPU/nexmark.FlinkPerCore(q.Query), q.Multiple, 1e-9)
			require.GreaterOrEqual(t, q.Batches, 4)
			require.Positive(t, q.P50)
			if q.Query == "q18" {
				require.Positive(t, q.State)
			}
			if hashes[q.Query] == "" {
				hashes[q.Query] = q.Hash
			}
			require.Equal(t, hashes[q.Query], q.Hash, "%s from %s", q.Query, r.Result.(*Nexmark).Input)
		}
	}
	_, err := (&run{Options: Options{Queries: []string{"q99"}}}).chosen()
	require.ErrorContains(t, err, `there is no query "q99"`)
	r := &run{Options: Options{Input: "tape"}, report: &Report{}}
	_, err = r.nexmarkInput(t.Context(), feedSpec{})
	require.ErrorContains(t, err, `input "tape" is not one of`)
}

// TestUnverified asks that a query without a right result shows no figure.
func TestUnverified(t *testing.T) {
	t.Parallel()
	n := Nexmark{Queries: []NexmarkQuery{{Query: "a", Differs: "1 | row", Seconds: 7.125},
		{Query: "b", Failed: "too slow"}}}
	text := n.markdown()
	require.Contains(t, text, "| a |  | differs |")
	require.Contains(t, text, "| b |  | failed: too slow |")
	require.Contains(t, text, "a: 1 | row")
	require.NotContains(t, text, "7.12")
	require.Contains(t, text, "0 of 2 queries verified")
	r := Report{Suite: "nexmark", Result: &n}
	require.ErrorContains(t, r.Fault(), "no verified result of a, b")
	n.Queries = []NexmarkQuery{{Query: "a", Verified: true}, {Query: "b", Refused: "NO_WAY"}}
	require.NoError(t, r.Fault(), "a refusal is no wrong result")
}

// TestTaskEnds asks that a process of the engine says what is wrong with a task, and ends when its driver
// does.
func TestTaskEnds(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	r := &run{Options: Options{Binary: self, Dir: t.TempDir(), Log: t.Output()}, report: &Report{Suite: "state"}}
	_, err = r.engine(t.Context(), &task{SQL: "CREATE QUERY nonsense", Queries: []string{"q"},
		Feed: feedSpec{Kind: "keys"}})
	var refused *refusal
	require.ErrorAs(t, err, &refused)
	require.NotEmpty(t, refused.code)
	require.ErrorContains(t, err, "the engine refuses the query: ")
	_, err = r.engine(t.Context(), &task{Feed: feedSpec{Kind: "other"}})
	require.ErrorContains(t, err, `there is no feed "other"`)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	_, err = r.engine(ctx, &task{SQL: stateSQL, Queries: []string{"state"}, Steps: 1,
		Feed: feedSpec{Kind: "keys", Keys: 10}})
	require.Error(t, err)
}
