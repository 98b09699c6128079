package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

func (e *env) diffCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff OLD.sql NEW.sql | diff NEW.sql",
		Short: "say what a changed text will do to its queries, before anything is touched",
		Long: "With two files, what changed between them; with one, what changed against the checkpoints in the data dir.\n" +
			"The verdict is by the rule that tidemill run goes by. Exit code 1 if a query would be refused.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return diag.New(diag.Usage, "%s takes OLD.sql NEW.sql, or NEW.sql, not %d words", c.CommandPath(), len(args)).
				WithHint("see %s --help", c.CommandPath())
		},
		Example: "  tidemill diff v1.sql v2.sql\n  tidemill diff v2.sql --data-dir /var/lib/tidemill",
	}
	query := c.Flags().String("query", "", "compare only this query")
	dataDir, form := e.reading(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		if len(args) == 2 && c.Flags().Changed("data-dir") {
			return diag.New(diag.Usage, "diff takes two files, or one and --data-dir, not both").
				WithHint("leave OLD.sql out to compare with what the checkpoints store")
		}
		return e.diff(c.Context(), diffOptions{files: args, query: *query, dataDir: *dataDir, form: chosen})
	}
	return c
}

// diffOptions are what diff was asked for.
type diffOptions struct {
	files   []string
	query   string // "" for all
	dataDir string
	form    string
}

// queryDiff is what becomes of one query. As JSON its names are stable.
type queryDiff struct {
	Query   string   `json:"query"`
	Effect  string   `json:"effect"` // unchanged, compatible, rebuilt, refused, new or removed
	Restart string   `json:"restart"`
	Changed []string `json:"changed"` // in the text
	Layout  []string `json:"layout"`  // of rebuilt and refused: "was  …" and "is   …"
	Reasons []string `json:"reasons"` // of refused: why the state can not be built anew
	WaysOut []string `json:"ways_out"`
}

// planned is a query of one of the two texts.
type planned struct {
	app   *planner.App
	def   *planner.Query
	plan  *planner.Plan
	shape engine.Shape
}

func (e *env) diff(ctx context.Context, o diffOptions) error {
	next, err := e.plannedOf(ctx, o.files[len(o.files)-1])
	if err != nil {
		return err
	}
	if err := e.checkSinks(ctx, next); err != nil {
		return err
	}
	var diffs []*queryDiff
	if len(o.files) == 2 {
		old, err := e.plannedOf(ctx, o.files[0])
		if err != nil {
			return err
		}
		diffs = diffTexts(old, next)
	} else if diffs, err = e.diffStored(ctx, o.dataDir, next); err != nil {
		return err
	}
	if diffs, err = only(diffs, o.query); err != nil {
		return err
	}
	if err := printDiffs(e.stdout, o.form, diffs); err != nil {
		return err
	}
	for _, d := range diffs {
		if d.Effect == string(engine.Refused) {
			return exitError{diag.ExitFailed}
		}
	}
	return nil
}

// only keeps the named query's.
func only(diffs []*queryDiff, query string) ([]*queryDiff, error) {
	if query == "" {
		return diffs, nil
	}
	d, err := named(diffs, func(d *queryDiff) string { return d.Query }, "query", query, "either text")
	return []*queryDiff{d}, err
}

// plannedOf plans every query of a file.
func (e *env) plannedOf(ctx context.Context, path string) ([]*planned, error) {
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return nil, err
	}
	return e.planAll(ctx, app, app.Queries)
}

// planAll plans queries of app. Sinks are not looked at: those of an old text may be gone.
func (e *env) planAll(ctx context.Context, app *planner.App, queries []*planner.Query) ([]*planned, error) {
	out := make([]*planned, len(queries))
	err := withDuck(ctx, func(conn *duck.Conn) error {
		for i, q := range queries {
			plan, err := planner.Build(ctx, app, q, conn)
			if err != nil {
				return fmt.Errorf("plan query %q: %w", q.Name, err)
			}
			out[i] = &planned{app: app, def: q, plan: plan, shape: engine.ShapeOf(registry(e), app, q, plan)}
		}
		return nil
	})
	return out, err
}

// checkSinks asks the sinks of a new text what they would ask at its start.
func (e *env) checkSinks(ctx context.Context, next []*planned) error {
	var faults []error
	for _, p := range next {
		opt := engine.Options{Registry: registry(e), Clock: e.clock}
		faults = append(faults, engine.Check(ctx, opt, p.app, p.plan))
	}
	return errors.Join(faults...)
}

// diffTexts compares the queries of two texts, those of the new one first.
func diffTexts(old, next []*planned) []*queryDiff {
	var diffs []*queryDiff
	before := map[string]*planned{}
	for _, p := range old {
		before[p.def.Name] = p
	}
	for _, p := range next {
		was, ok := before[p.def.Name]
		if !ok {
			diffs = append(diffs, newQuery(p))
			continue
		}
		delete(before, p.def.Name)
		diffs = append(diffs, verdictOf(was.shape, p, whatChanged(was, p), checkpoint.Totals{}))
	}
	for _, p := range old {
		if before[p.def.Name] != nil {
			diffs = append(diffs, &queryDiff{Query: p.def.Name, Effect: "removed",
				Restart: "it runs no more; its checkpoint and what its sinks hold stay as they are",
				Changed: []string{}, Layout: []string{}, Reasons: []string{}, WaysOut: []string{}})
		}
	}
	return diffs
}

func newQuery(p *planned) *queryDiff {
	return &queryDiff{Query: p.def.Name, Effect: "new", Changed: []string{}, Layout: []string{}, Reasons: []string{}, WaysOut: []string{},
		Restart: "it begins with a checkpoint of its own, from where its sources start"}
}

// verdictOf applies the engine's rule, with what is known of the rows that have been read.
func verdictOf(was engine.Shape, p *planned, changed []string, t checkpoint.Totals) *queryDiff {
	change := engine.Compare(was, p.shape)
	if change.Effect == engine.Rebuilt {
		if change.Reasons = engine.Inexact(p.plan, t); len(change.Reasons) > 0 {
			change.Effect = engine.Refused
		}
	}
	d := &queryDiff{Query: p.def.Name, Effect: string(change.Effect), Changed: changed,
		Layout: append([]string{}, change.Lines...), Reasons: append([]string{}, change.Reasons...), WaysOut: []string{}}
	switch {
	case change.Effect == engine.Rebuilt:
		d.Restart = "the old text goes on while the state is built anew from the sources' history, which they must still have; " +
			"then the new text takes effect at a batch boundary"
		if p.def.Mode != stream.Append {
			d.Restart += ", and the next batch brings the sinks up to date"
		}
	case change.Effect == engine.Refused:
		d.Restart = "refused with PLAN_CHANGED, and nothing is touched: what the checkpoint depends on has changed"
		d.WaysOut = []string{
			"give the query a new name: it begins beside the old one, whose checkpoint stays",
			"begin a new checkpoint with another --data-dir and another place for the output; sources with start = 'earliest' " +
				"then give all of their history again",
			"put the old text back"}
	case change.Effect == engine.Compatible || len(changed) > 0:
		d.Effect = string(engine.Compatible)
		d.Restart = "takes effect at the next batch boundary"
		if p.plan.Stateful() {
			d.Restart += ", on the state as it is"
		}
	default:
		d.Restart = "nothing changes"
	}
	return d
}

// diffStored compares each query with its checkpoint.
func (e *env) diffStored(ctx context.Context, dataDir string, next []*planned) ([]*queryDiff, error) {
	names, err := queriesOf(dataDir)
	if err != nil {
		return nil, err
	}
	known := set(names...)
	diffs := make([]*queryDiff, 0, len(next))
	for _, p := range next {
		if !known[p.def.Name] {
			diffs = append(diffs, newQuery(p))
			continue
		}
		d, err := e.diffCheckpoint(ctx, engine.DataDirOf(dataDir, p.def.Name), p)
		if err != nil {
			return nil, err
		}
		diffs = append(diffs, d)
	}
	return diffs, nil
}

func (e *env) diffCheckpoint(ctx context.Context, dir string, p *planned) (*queryDiff, error) {
	s, err := checkpoint.Inspect(vfs.OS{}, dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // coded
	}
	state, _, err := stateOf(dir, s, nil)
	if err != nil {
		return nil, err
	}
	was, changed := e.changedSince(ctx, s.Meta, p)
	d := verdictOf(was, p, changed, totalsOf(s))
	if d.Effect != string(engine.Compatible) {
		return d, nil
	}
	if n := unfinished(s); n > 0 && state != "running" {
		d.Restart += fmt.Sprintf(", after %s that the old text runs again first", pluralBatch(n))
	}
	if state == "running" {
		d.Restart += "; the query runs by the old text until it is stopped and started"
	}
	return d, nil
}

func totalsOf(s *checkpoint.Summary) checkpoint.Totals {
	if s.Last == nil {
		return checkpoint.Totals{}
	}
	return s.Last.Totals
}

// changedSince compares with the stored text, which may not be readable here: then the checkpoint's layout alone
// counts.
func (e *env) changedSince(ctx context.Context, m checkpoint.Meta, p *planned) (engine.Shape, []string) {
	stored := engine.StoredShape(m)
	app, err := e.parse(ctx, &diag.Text{Name: m.Name + " (as in the checkpoint)", Body: m.SQL}, registry(e))
	if err != nil {
		return stored, []string{"what else is not known: the stored text can not be read here: " + firstLineOf(err)}
	}
	queries, err := pick(app, m.Name)
	if err != nil {
		return stored, []string{"what else is not known: the stored text has no such query"}
	}
	was, err := e.planAll(ctx, app, queries)
	if err != nil {
		return stored, []string{"what else is not known: the stored text can not be planned here: " + firstLineOf(err)}
	}
	return stored.WithText(was[0].shape), whatChanged(was[0], p)
}

// unfinished counts the batches that the next start runs again: those that no state version covers, and the one
// without a Commit.
func unfinished(s *checkpoint.Summary) int64 {
	n := int64(0)
	if s.Pending != nil {
		n++
	}
	if !s.Meta.Stateful || s.Last == nil {
		return n
	}
	covered := int64(-1)
	for _, v := range s.Versions {
		if v.Batch() <= s.Last.Batch {
			covered = v.Batch()
		}
	}
	return n + s.Last.Batch - covered
}

func printDiffs(w io.Writer, form string, diffs []*queryDiff) error {
	var err error
	enc := json.NewEncoder(w)
	switch form {
	case "json":
		enc.SetIndent("", "  ")
		err = enc.Encode(diffs)
	case "jsonl":
		for _, d := range diffs {
			if err == nil {
				err = enc.Encode(d)
			}
		}
	case "csv":
		l := listing{columns: []string{"query", "effect", "restart", "changed", "layout", "reasons"}}
		for _, d := range diffs {
			l.add(d.Query, d.Effect, d.Restart, strings.Join(d.Changed, "\n"), strings.Join(d.Layout, "\n"),
				strings.Join(d.Reasons, "\n"))
		}
		return l.print(w, form)
	default:
		for i, d := range diffs {
			if i > 0 && err == nil {
				_, err = io.WriteString(w, "\n")
			}
			if err == nil {
				_, err = io.WriteString(w, d.text())
			}
		}
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// text is the verdict for people.
func (d *queryDiff) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "query %s: %s\n  %s\n", d.Query, d.Effect, d.Restart)
	for _, part := range []struct {
		head  string
		lines []string
	}{{"changed", d.Changed}, {"what the state depends on", d.Layout}, {"why", d.Reasons}, {"ways out", d.WaysOut}} {
		if len(part.lines) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %s:\n", part.head)
		for _, line := range part.lines {
			fmt.Fprintf(&b, "    %s\n", rowenc.Plain(line))
		}
	}
	return b.String()
}
