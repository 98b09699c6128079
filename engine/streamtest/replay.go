package streamtest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// replay runs the rows of an append-mode case again, one row per batch and all in one batch, each with a restart in
// the middle and the watermark at infinity at the end, and asks that the sink then equals the batch run over the same
// rows, but for those that were dead-lettered. It returns how many replays were compared. One in which a row was
// dropped as late is not.
func replay(ctx context.Context, c Case, o Options) (int, error) {
	if c.OnlyBatch {
		return 0, nil
	}
	for _, s := range c.Steps {
		switch s.Kind {
		case "fails", "crash", "clock", "restart":
			return 0, nil
		}
	}
	if meant, err := hasBatchAnswer(ctx, c, o); err != nil || !meant {
		return 0, err
	}
	single, err := replayOnce(ctx, c, o, true)
	if err != nil {
		return 0, fmt.Errorf("replay with one row per batch: %w", err)
	}
	want, err := batchAnswer(ctx, c, o, single.dead)
	if err != nil {
		return 0, err
	}
	whole, err := replayOnce(ctx, c, o, false)
	if err != nil {
		return 0, fmt.Errorf("replay with all rows in one batch: %w", err)
	}
	compared := 0
	for _, r := range []replayed{single, whole} {
		if r.late || r.deadRows != single.deadRows {
			continue
		}
		if d := diff(r.rows.rows, want.rows, false); d != "" {
			return compared, fmt.Errorf("replay with %s: the stream's rows are not the batch run's:\n%s", r.how, d)
		}
		compared++
	}
	return compared, nil
}

// replayed is what a replay left.
type replayed struct {
	how      string
	rows     table // that the sink holds
	late     bool  // a row was dropped as late
	deadRows int64
	dead     map[int]bool // with one row per batch: numbers of the adds whose row was dead-lettered
}

// ordered matches bodies whose answer depends on the order of rows between sources.
var ordered = regexp.MustCompile(`(?i)\blimit\b|\bdistinct\s+on\b|\b(first|last|any_value|arbitrary|list|array_agg|string_agg)\s*\(`) //nolint:gochecknoglobals // a constant pattern

// hasBatchAnswer reports whether the case's rows have one batch answer. Its SQL is opened on the way.
func hasBatchAnswer(ctx context.Context, c Case, o Options) (bool, error) {
	r, err := newRig(o, c)
	if err != nil {
		return false, err
	}
	defer r.close()
	if err := r.open(ctx, c.SQL); err != nil {
		return false, err
	}
	plan, def := r.query.Plan(), r.app.Queries[0]
	return def.Mode == stream.Append && !plan.SlotBound && len(plan.NotComparable()) == 0 &&
		(len(plan.Sources) == 1 || !ordered.MatchString(def.Body)), nil
}

// batchAnswer is what the batch plan gives for the rows of the case, but for those of the adds in dead.
func batchAnswer(ctx context.Context, c Case, o Options, dead map[int]bool) (table, error) {
	r, err := newRig(o, c)
	if err != nil {
		return table{}, err
	}
	defer r.close()
	if r.app, err = r.parse(ctx, &diag.Text{Name: c.Name + ".sql", Body: c.SQL}); err != nil {
		return table{}, err
	}
	for i, add := range r.spread(c, true) {
		if dead[i] {
			continue
		}
		if err := r.feed(add); err != nil {
			return table{}, err
		}
	}
	got, err := r.runBatchPlan(ctx)
	if err != nil {
		return table{}, fmt.Errorf("batch run: %w", err)
	}
	return got, nil
}

// replayOnce feeds all rows of the case. What its trigger says of when batches run does not matter here.
func replayOnce(ctx context.Context, c Case, o Options, single bool) (replayed, error) {
	out := replayed{how: "all rows in one batch", dead: map[int]bool{}}
	if single {
		out.how = "one row per batch"
	}
	o.Verbose = nil
	r, err := newRig(o, c)
	if err != nil {
		return out, err
	}
	defer r.close()
	r.anytime = true
	if err := r.open(ctx, c.SQL); err != nil {
		return out, err
	}
	adds := r.spread(c, single)
	for i, add := range adds {
		if i == len(adds)/2 {
			if err := r.restart(ctx, c.SQL); err != nil {
				return out, err
			}
		}
		if err := r.feed(add); err != nil {
			return out, err
		}
		before := r.dead
		if err := r.query.Idle(ctx); err != nil {
			return out, err //nolint:wrapcheck // replay says which
		}
		out.dead[i] = r.dead > before
	}
	if err := r.query.Finish(ctx); err != nil {
		return out, err //nolint:wrapcheck // replay says which
	}
	if len(r.app.Sinks) == 0 {
		return out, errors.New("the case has no sink")
	}
	out.rows, out.late, out.deadRows = r.held(r.app.Queries[0].Sinks[0]), r.dropped, r.dead
	return out, nil
}

// feed adds rows to their sources.
func (r *rig) feed(add []part) error {
	for _, p := range add {
		if err := r.sources.Add(p.source.Name, columns(p.source), p.rows); err != nil {
			return fmt.Errorf("add: %w", err)
		}
	}
	return nil
}

type part struct {
	source *planner.Source
	rows   [][]any
}

// spread returns the rows of all adds, sources in declaration order: one row at a time, or all at once.
func (r *rig) spread(c Case, single bool) [][]part {
	var adds [][]part
	var all []part
	for _, s := range c.Steps {
		if s.Kind != "add" {
			continue
		}
		for _, src := range r.app.Sources {
			for _, name := range s.Order {
				if !strings.EqualFold(name, src.Name) {
					continue
				}
				rows, err := listRows(columns(src), mapOf(s.Value)[name])
				if err != nil {
					continue // the case itself has shown it
				}
				all = append(all, part{src, rows})
				for _, row := range rows {
					adds = append(adds, []part{{src, [][]any{row}}})
				}
			}
		}
	}
	if !single {
		return [][]part{all}
	}
	return adds
}
