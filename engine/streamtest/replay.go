package streamtest

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// replay runs the rows of an append-mode case again, one row per batch and all in one batch, each with a restart in
// the middle and the watermark at infinity at the end, and asks that the sink then equals the batch run over the same
// rows. It returns how many replays were compared. One in which a row was dropped as late is not.
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
	want, meant, err := batchAnswer(ctx, c, o)
	if err != nil || !meant {
		return 0, err
	}
	compared := 0
	for _, single := range []bool{true, false} {
		got, late, err := replayOnce(ctx, c, o, single)
		how := "all rows in one batch"
		if single {
			how = "one row per batch"
		}
		if err != nil {
			return compared, fmt.Errorf("replay with %s: %w", how, err)
		}
		if late {
			continue
		}
		if d := diff(got.rows, want.rows, false); d != "" {
			return compared, fmt.Errorf("replay with %s: the stream's rows are not the batch run's:\n%s", how, d)
		}
		compared++
	}
	return compared, nil
}

// ordered matches bodies whose answer depends on the order of rows between sources.
var ordered = regexp.MustCompile(`(?i)\blimit\b|\bdistinct\s+on\b|\b(first|last|any_value|arbitrary|list|array_agg|string_agg)\s*\(`) //nolint:gochecknoglobals // a constant pattern

// batchAnswer is what the batch plan gives for all rows of the case, if the case can be compared.
func batchAnswer(ctx context.Context, c Case, o Options) (table, bool, error) {
	r, err := newRig(o, c)
	if err != nil {
		return table{}, false, err
	}
	defer r.close()
	if err := r.open(ctx, c.SQL); err != nil {
		return table{}, false, err
	}
	plan, def := r.query.Plan(), r.app.Queries[0]
	if def.Mode != stream.Append || len(plan.NotComparable()) > 0 ||
		len(plan.Sources) > 1 && ordered.MatchString(def.Body) {
		return table{}, false, nil
	}
	for _, s := range c.Steps {
		if s.Kind == "add" {
			if err := r.add(s); err != nil {
				return table{}, false, err
			}
		}
	}
	got, err := r.runBatchPlan(ctx)
	if err != nil {
		return table{}, false, fmt.Errorf("batch run: %w", err)
	}
	return got, true, nil
}

// replayOnce feeds all rows of the case and returns what the sink holds at the end, and whether a row was late.
func replayOnce(ctx context.Context, c Case, o Options, single bool) (table, bool, error) {
	o.Verbose = nil
	r, err := newRig(o, c)
	if err != nil {
		return table{}, false, err
	}
	defer r.close()
	if err := r.open(ctx, c.SQL); err != nil {
		return table{}, false, err
	}
	adds := r.spread(c, single)
	for i, add := range adds {
		if i == len(adds)/2 {
			if err := r.restart(ctx, c.SQL); err != nil {
				return table{}, false, err
			}
		}
		for _, part := range add {
			if err := r.sources.Add(part.source.Name, columns(part.source), part.rows); err != nil {
				return table{}, false, fmt.Errorf("add: %w", err)
			}
		}
		if err := r.query.Idle(ctx); err != nil {
			return table{}, false, err //nolint:wrapcheck // replay says which
		}
	}
	if err := r.query.Finish(ctx); err != nil {
		return table{}, false, err //nolint:wrapcheck // replay says which
	}
	if len(r.app.Sinks) == 0 {
		return table{}, false, errors.New("the case has no sink")
	}
	return r.held(r.app.Queries[0].Sinks[0]), r.dropped, nil
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
			v, ok := mapOf(s.Value)[src.Name]
			if !ok {
				continue
			}
			rows, err := listRows(columns(src), v)
			if err != nil {
				continue // the case itself has shown it
			}
			all = append(all, part{src, rows})
			for _, row := range rows {
				adds = append(adds, []part{{src, [][]any{row}}})
			}
		}
	}
	if !single {
		return [][]part{all}
	}
	return adds
}
