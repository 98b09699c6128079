package streamtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// step carries out one step of a case.
func (r *rig) step(ctx context.Context, s Step) error {
	switch s.Kind {
	case "add":
		return r.add(s)
	case "run":
		return r.runStep(ctx, s)
	case "expect":
		return r.expect(s)
	case "watermark":
		return r.watermark(s)
	case "state":
		return r.state(s)
	case "batches":
		return r.batches(s)
	case "restart":
		return r.restartStep(ctx, s)
	case "crash":
		return r.crashStep(s)
	case "clock":
		return r.moveClock(s)
	case "clear_sink":
		for _, sink := range r.app.Sinks {
			r.sinks.Clear(sink.Name)
			r.seen[sink.Name] = 0
		}
		return nil
	case "fails":
		return r.fails(s)
	}
	return fmt.Errorf("unknown step %q", s.Kind)
}

func (r *rig) runStep(ctx context.Context, s Step) error {
	switch s.Value {
	case "idle":
		return r.run(ctx, func(ctx context.Context) error { return r.query.Idle(ctx) })
	case "batch":
		return r.run(ctx, func(ctx context.Context) error {
			_, err := r.query.Step(ctx)
			return err
		})
	case "finish":
		return r.run(ctx, func(ctx context.Context) error { return r.query.Finish(ctx) })
	}
	return fmt.Errorf("run: %v is neither idle, batch nor finish", s.Value)
}

func (r *rig) source(name string) *planner.Source {
	for _, src := range r.app.Sources {
		if strings.EqualFold(src.Name, name) {
			return src
		}
	}
	return nil
}

// columns are those that add gives values for: neither computed nor metadata.
func columns(s *planner.Source) []stream.Column {
	var cols []stream.Column
	for _, c := range s.Columns {
		if c.Expr == "" && !c.Metadata {
			cols = append(cols, c.Column)
		}
	}
	return cols
}

func (r *rig) add(s Step) error {
	for _, name := range s.Order {
		src := r.source(name)
		if src == nil {
			return fmt.Errorf("add: source %q is not declared", name)
		}
		rows, err := listRows(columns(src), mapOf(s.Value)[name])
		if err != nil {
			return fmt.Errorf("add to %s: %w", name, err)
		}
		if err := r.sources.Add(src.Name, columns(src), rows); err != nil {
			return fmt.Errorf("add to %s: %w", name, err)
		}
	}
	return nil
}

// listRows brings the rows of an add to lists in column order.
func listRows(cols []stream.Column, v any) ([][]any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("expected a list of rows")
	}
	out := make([][]any, 0, len(list))
	for _, item := range list {
		switch row := item.(type) {
		case []any:
			if len(row) != len(cols) {
				return nil, fmt.Errorf("row %v has %d values for %d columns", row, len(row), len(cols))
			}
			out = append(out, row)
		case map[string]any:
			byName := make([]any, len(cols))
			known := 0
			for i, c := range cols {
				for name, v := range row {
					if strings.EqualFold(name, c.Name) {
						byName[i], known = v, known+1
					}
				}
			}
			if known != len(row) {
				return nil, fmt.Errorf("row %v names a column that is not declared", row)
			}
			out = append(out, byName)
		default:
			return nil, fmt.Errorf("a row is a list or a map, not %v", item)
		}
	}
	return out, nil
}

func (r *rig) watermark(s Step) error {
	if r.query == nil {
		return errors.New("the engine is not running")
	}
	got := r.query.Watermark()
	if s.Value == nil {
		if got != nil {
			return fmt.Errorf("the watermark is %s, expected none yet", showTime(*got))
		}
		return nil
	}
	want, err := micros(s.Value)
	if err != nil {
		return err
	}
	if got == nil {
		return fmt.Errorf("the watermark is not known yet, expected %s", showTime(want))
	}
	if *got != want {
		return fmt.Errorf("the watermark is %s, expected %s", showTime(*got), showTime(want))
	}
	return nil
}

func showTime(us int64) string {
	return fmt.Sprintf("%g (%s)", float64(us)/1e6, time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05.999999"))
}

func micros(v any) (int64, error) {
	if f, ok := number(v); ok {
		return int64(f * 1e6), nil
	}
	if at, ok := moment(v); ok {
		t, err := time.Parse("2006-01-02 15:04:05.999999", at)
		if err != nil {
			return 0, fmt.Errorf("read time %q: %w", at, err)
		}
		return t.UnixMicro(), nil
	}
	return 0, fmt.Errorf("%v is neither seconds nor a timestamp", v)
}

func (r *rig) state(s Step) error {
	got := map[string]int64{"rows": r.count.NumRowsTotal, "updated": r.count.NumRowsUpdated,
		"removed": r.count.NumRowsRemoved, "dropped": r.count.NumRowsDropped}
	var wrong []string
	for _, key := range s.Order {
		have, ok := got[key]
		if !ok {
			return fmt.Errorf("state: unknown count %q", key)
		}
		if want, ok := number(mapOf(s.Value)[key]); !ok || int64(want) != have {
			wrong = append(wrong, fmt.Sprintf("%s is %d, expected %v", key, have, mapOf(s.Value)[key]))
		}
	}
	r.resetCounts()
	if len(wrong) > 0 {
		return errors.New("state: " + strings.Join(wrong, ", "))
	}
	return nil
}

func (r *rig) resetCounts() {
	r.count = engine.StateProgress{NumRowsTotal: r.count.NumRowsTotal}
}

func (r *rig) batches(s Step) error {
	if r.query == nil {
		return errors.New("the engine is not running")
	}
	want, ok := number(s.Value)
	if got := r.query.Batches(); !ok || got != int64(want) {
		return fmt.Errorf("%d batches have been committed, expected %v", got, s.Value)
	}
	return nil
}

func (r *rig) restartStep(ctx context.Context, s Step) error {
	sql := r.c.SQL
	if changed, ok := mapOf(s.Value)["sql"].(string); ok {
		sql = changed
		r.c.SQL = changed
	}
	return r.restart(ctx, sql)
}

func (r *rig) crashStep(s Step) error {
	point := fmt.Sprint(s.Value)
	switch point {
	case "after_offsets": // Spark's name for the log entry
		point = engine.AfterIntent
	case engine.BeforeIntent, engine.AfterIntent, engine.AfterExecute, engine.MidSink, engine.AfterSink,
		engine.AfterCommit, engine.AfterState:
	default:
		return fmt.Errorf("crash: unknown point %q", point)
	}
	r.crash = point
	return nil
}

func (r *rig) moveClock(s Step) error {
	d, wrong := sqlfront.ParseDuration(strings.TrimPrefix(fmt.Sprint(s.Value), "+"))
	if wrong != "" || d < 0 {
		return fmt.Errorf("clock: %v is not a duration such as '+10s' or '+2 days'", s.Value)
	}
	r.clock.Advance(d)
	return nil
}

// fails asks that the step before, or planning, was refused.
func (r *rig) fails(s Step) error {
	err := r.failed
	r.failed = nil
	if err == nil {
		return errors.New("expected a failure, but nothing failed")
	}
	m := mapOf(s.Value)
	if code, ok := m["code"].(string); ok && code != string(diag.CodeOf(err)) {
		got := string(diag.CodeOf(err))
		if got == "" {
			got = "no code"
		}
		return fmt.Errorf("failed with %s, expected %s:\n%s", got, code, message(err))
	}
	list, ok := m["contains"].([]any)
	if one, there := m["contains"]; there && !ok {
		list = []any{one}
	}
	have := strings.ToLower(message(err) + "\n" + err.Error())
	for _, want := range list {
		if !strings.Contains(have, strings.ToLower(fmt.Sprint(want))) {
			return fmt.Errorf("the message does not contain %q:\n%s", want, message(err))
		}
	}
	return nil
}
