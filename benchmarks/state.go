package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

const stateSQL = `CREATE SOURCE rows (k BIGINT, v BIGINT) WITH (connector = 'pieces');
CREATE SINK state_sink WITH (connector = 'kept');
CREATE QUERY state INTO state_sink OUTPUT MODE UPDATE WITH (checkpoint_interval = '2 seconds') AS
  SELECT k, count(*) AS n, sum(v)::BIGINT AS total FROM rows GROUP BY k;
`

const stateWant = "SELECT k, count(*) AS n, sum(v)::BIGINT AS total FROM rows GROUP BY k"

const (
	smallBatch     = 10_000 // rows of a batch that is made more often
	smallTimes     = 10     // how much more often
	sustainedTimes = 3      // batches of the sustained run to those of one size
)

// state loads a key for each of many groups, lets batches of random keys change them, kills the process and has another
// one recover, for each number of keys.
func (r *run) state(ctx context.Context) error {
	keys := r.Keys
	if len(keys) == 0 {
		keys = []int64{10_000, 100_000, 1_000_000, 10_000_000}
	}
	r.report.SQL, r.report.Target = stateSQL, "at 10,000,000 keys 100,000 rows/s sustained and 1,000 rows in at most 30 ms; "+
		"at 1,000,000 keys 1,000 rows in at most 10 ms; at most 120 bytes a key; recovery in at most 10 s; a checkpoint "+
		"stalls no batch by more than 20 ms"
	result := &State{}
	r.report.Result = result
	for _, n := range keys {
		if n < 1 {
			return diag.New(diag.Usage, "--keys %d: a run of state needs a key", n)
		}
		one, err := r.stateOf(ctx, n)
		if err != nil {
			return fmt.Errorf("%d keys: %w", n, err)
		}
		result.Runs = append(result.Runs, *one)
	}
	return nil
}

// stateSteps are the rows of the batches after the load: of each size, and at last of the largest one again, as many as
// it takes to see several state versions.
func (r *run) stateSteps() (sizes []int64, counts []int64) {
	sizes, batches := []int64{100_000, 1_000, 100}, cmp.Or(r.BatchCount, 30)
	if r.Rows > 0 {
		sizes = []int64{r.Rows}
	}
	for _, size := range sizes {
		n := batches
		if size < smallBatch {
			n *= smallTimes
		}
		counts = append(counts, n)
	}
	return append(sizes, sizes[0]), append(counts, sustainedTimes*batches)
}

func (r *run) stateOf(ctx context.Context, keys int64) (*StateRun, error) {
	sizes, counts := r.stateSteps()
	t := task{SQL: stateSQL, Queries: []string{"state"}, Dir: fmt.Sprintf("keys%d", keys), Weigh: true, Kill: true,
		Profile: profileOf(r.CPUProfile, fmt.Sprint(keys)), Feed: feedSpec{Kind: "keys", Seed: r.Seed, Keys: keys}}
	t.Filled = t.Feed.loads()
	for i, size := range sizes {
		t.Feed.Sizes = append(t.Feed.Sizes, slices.Repeat([]int64{size}, int(counts[i]))...)
	}
	t.Steps = t.Filled + len(t.Feed.Sizes)
	plan := make([]string, len(sizes))
	for i, size := range sizes {
		plan[i] = fmt.Sprintf("%d of %d rows", counts[i], size)
	}
	r.say("loading %d keys, then batches, %s, then a kill", keys, strings.Join(plan, ", "))
	o, err := r.engine(ctx, &t)
	if err != nil {
		return nil, err
	}
	s := &StateRun{Keys: keys, OpenedBytes: o.Opened, LoadedBytes: o.Filled, PeakBytes: o.Peak, CPU: o.CPU,
		GrownPerKey: float64(o.Filled-o.Opened) / float64(keys)}
	loads := o.of(0, 0, t.Filled)
	s.LoadSeconds = sum(column(loads, func(l lap) float64 { return l.Millis })) / 1000
	s.StateRows = loads[len(loads)-1].State
	for i, from := 0, t.Filled; i < len(sizes); i++ {
		laps := o.of(0, from, from+int(counts[i]))
		from += int(counts[i])
		if i == len(sizes)-1 {
			s.Sustained = perSecondOf(laps)
			break
		}
		s.Sizes = append(s.Sizes, stepsOf(sizes[i], laps))
		s.PerKey = float64(laps[len(laps)-1].Kept) / float64(keys) // in the end, with the buffers of the smallest batches
	}
	s.Versions = versionsOf(o, t.Filled)
	if s.Verified, err = r.verify(ctx, t, o, map[string]string{"state": stateWant}); err != nil {
		return nil, err
	}
	return s, r.recoverState(ctx, t, o, s)
}

// recoverState has another process take over what the killed one left, and asks it for every group.
func (r *run) recoverState(ctx context.Context, t task, before *outcome, s *StateRun) error {
	t.From, t.Steps, t.Filled, t.Weigh, t.Kill = before.Steps, before.Steps+t.Feed.loads(), 0, false, false
	t.Results, t.Profile = "recovered", profileOf(r.CPUProfile, fmt.Sprint(s.Keys, "-recovery"))
	r.say("recovering")
	o, err := r.engine(ctx, &t)
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	first := o.of(0, t.From, t.From+1)[0]
	s.Recovery = Recovery{OpenSeconds: o.Opening / 1000, Seconds: (o.Opening + first.Millis) / 1000,
		LoadSeconds: o.Load / 1000, RerunSeconds: o.Rerun / 1000, Reruns: o.Reruns, CPU: o.OpenCPU, PeakBytes: o.Peak}
	if s.DiskPerKey, err = diskPerKey(t.Dir, s.Keys); err != nil {
		return err
	}
	again, err := r.verify(ctx, t, o, map[string]string{"state": stateWant})
	if err != nil {
		return fmt.Errorf("after the recovery: %w", err)
	}
	for _, v := range again {
		s.Verified = append(s.Verified, verified{v.Query + " after the recovery", v.Rows})
	}
	return nil
}

// diskPerKey is what the newest state version takes on disk: base and deltas.
func diskPerKey(dir string, keys int64) (float64, error) {
	versions, err := state.List(vfs.OS{}, filepath.Join(dir, "data", "state", "state"))
	if err != nil {
		return 0, fmt.Errorf("look at the state versions: %w", err)
	}
	var bytes int64
	for _, table := range versions[len(versions)-1].Tables() {
		bytes += table.Bytes
	}
	return float64(bytes) / float64(keys), nil
}

func perSecondOf(laps []lap) float64 {
	rows := sum(column(laps, func(l lap) float64 { return float64(l.In) }))
	return rows / sum(column(laps, func(l lap) float64 { return l.Millis })) * 1000
}
