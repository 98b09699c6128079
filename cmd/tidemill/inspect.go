package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// metaFile is what makes a directory that of a query.
const metaFile = "meta.json"

// reading adds what every command has that only looks at a data dir.
func (e *env) reading(c *cobra.Command) (dataDir *string, form func() (string, error)) {
	dataDir = c.Flags().String("data-dir", e.defaultDataDir(),
		"directory of logs, checkpoints and dead letters")
	return dataDir, e.outputFlags(c)
}

func (e *env) lsCommand() *cobra.Command {
	c := &cobra.Command{Use: "ls", Short: "list the queries of a data dir, running or not", Args: noArgs}
	dataDir, form := e.reading(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		return e.ls(c.Context(), *dataDir, chosen)
	}
	return c
}

// ls needs no lock. A query that can not be read has its fault in its line.
func (e *env) ls(ctx context.Context, dataDir, form string) error {
	names, err := queriesOf(dataDir)
	if err != nil {
		return err
	}
	l := listing{columns: []string{"query", "state", "batches", "rows_in", "rows_out", "late", "dead",
		"watermark", "last_batch", "log_bytes", "damage"},
		right: set("batches", "rows_in", "rows_out", "late", "dead", "log_bytes")}
	var faults []error
	for _, name := range names {
		dir := engine.DataDirOf(dataDir, name)
		s, damage := look(ctx, dir)
		if damage != nil {
			faults = append(faults, damage)
		}
		if s == nil {
			l.add(name, damaged, nil, nil, nil, nil, nil, nil, nil, nil, message(damage))
			continue
		}
		state, _, err := stateOf(dir, s, damage)
		if err != nil {
			return err
		}
		t, watermark, last := checkpoint.Totals{}, any(nil), any(nil)
		if s.Last != nil {
			t, watermark, last = s.Last.Totals, micros(s.Last.Watermark), stamp(s.LastIntent.Time)
		}
		l.add(name, state, t.Batches, t.In, t.Out, t.Late, t.Dead, watermark, last, s.LogBytes, message(damage))
	}
	return errors.Join(l.print(e.stdout, form), faultsOf(faults))
}

// queriesOf returns the names of the queries that have a directory, in ascending order.
func queriesOf(dataDir string) ([]string, error) {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return nil, diag.New(diag.Usage, "data dir %q can not be read: %s", dataDir, reasonOf(err)).
			WithHint("point --data-dir or TIDEMILL_DATA_DIR to the directory that tidemill run writes")
	}
	var names []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), droppedPrefix) {
			continue
		}
		dir := filepath.Join(dataDir, entry.Name())
		if exists(filepath.Join(dir, metaFile)) || orphaned(dir) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// queryDir returns the directory of a query that must be there.
func queryDir(dataDir, query string) (string, error) {
	names, err := queriesOf(dataDir)
	if err != nil {
		return "", err
	}
	if dir := engine.DataDirOf(dataDir, query); slices.Contains(names, query) {
		if orphaned(dir) {
			return "", noMeta(dir)
		}
		return dir, nil
	}
	if query != "" && unborn(engine.DataDirOf(dataDir, query)) {
		return "", diag.New(diag.Usage, "query %q has not begun: its first start was broken off before it read anything", query).
			WithHint("start it again; nothing is lost")
	}
	e := diag.New(diag.Usage, "data dir %q has no query %q", dataDir, query)
	if near := diag.Near(query, names); near != "" {
		return "", e.WithHint("did you mean %q?", near)
	}
	return "", e.WithHint("tidemill ls lists the queries there")
}

// stateOf says whether somebody runs a query now, and who. Damage that look found comes before all else.
func stateOf(dir string, s *checkpoint.Summary, damage error) (state, holder string, err error) {
	held, err := vfs.Held(dir)
	if err != nil {
		return "", "", err //nolint:wrapcheck // names the lock
	}
	state = "interrupted"
	if s.Closed {
		state = "stopped"
	}
	if held != nil {
		state, holder = "running", strings.TrimSpace(held.PID+" "+held.Host)
	}
	if damage != nil {
		state = damaged
	}
	return state, holder, nil
}

// queryCommand is a command that looks at one query of a data dir.
func (e *env) queryCommand(
	use, short string, run func(ctx context.Context, dataDir, query, form string) error,
) *cobra.Command {
	c := &cobra.Command{Use: use + " QUERY", Short: short, Args: exactArgs("QUERY")}
	dataDir, form := e.reading(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		return run(c.Context(), *dataDir, args[0], chosen)
	}
	return c
}

func (e *env) showCommand() *cobra.Command {
	return e.queryCommand("show", "show where a query stands: offsets, totals, watermarks, state, SQL", e.show)
}

// show prints what can be read of a damaged query too.
func (e *env) show(ctx context.Context, dataDir, query, form string) error {
	dir, err := queryThere(dataDir, query)
	if err != nil {
		return err
	}
	s, damage := look(ctx, dir)
	fields := listing{columns: []string{"field", "value"}}
	add := func(name string, value any) { fields.add(name, value) }
	sql := ""
	if s == nil {
		add("query", query)
		add("state", damaged)
	} else if sql, err = addSummary(add, dir, s, damage); err != nil {
		return err
	}
	if damage != nil {
		add("damage", message(damage))
	}
	return errors.Join(fields.printFields(e.stdout, form, sql), damage)
}

// printFields writes the fields of a query, its SQL last.
func (l *listing) printFields(w io.Writer, form, sql string) error {
	if form == "table" {
		_, err := fmt.Fprintf(w, "%s\n%s\n", l.table(), strings.TrimSpace(sql))
		if err != nil {
			return fmt.Errorf("write output: %w", err)
		}
		return nil
	}
	if sql != "" {
		l.add("sql", sql)
	}
	if form == "csv" {
		return l.print(w, form)
	}
	return l.printRecord(w, form == "json")
}

// addSummary adds what a query is and where it stands, and returns its SQL.
func addSummary(add func(string, any), dir string, s *checkpoint.Summary, damage error) (string, error) {
	state, holder, err := stateOf(dir, s, damage)
	if err != nil {
		return "", err
	}
	add("query", s.Meta.Name)
	add("state", state)
	if holder != "" {
		add("owner", holder)
	}
	add("uuid", s.Meta.UUID)
	add("created", stamp(s.Meta.Created))
	add("engine", s.Meta.Version)
	add("epoch", s.Epoch)
	addPosition(add, s)
	add("log_bytes", s.LogBytes)
	versions := make([]int64, len(s.Versions))
	for i, v := range s.Versions {
		versions[i] = v.Batch()
	}
	add("state_versions", versions)
	return s.Meta.SQL, nil
}

// addPosition adds how far the query has come.
func addPosition(add func(string, any), s *checkpoint.Summary) {
	if s.Last == nil {
		add("last_batch", nil)
	} else {
		t := s.Last.Totals
		add("last_batch", s.Last.Batch)
		add("last_batch_time", stamp(s.LastIntent.Time))
		add("watermark", micros(s.Last.Watermark))
		add("batches", t.Batches)
		add("rows_in", t.In)
		add("rows_out", t.Out)
		add("late", t.Late)
		add("null_time", t.NullTime)
		add("dead", t.Dead)
		add("lost", t.Lost)
		add("inexact", s.Last.Inexact)
		add("state_rows", s.Last.State.Rows)
		if n := s.Last.State; n.Memory+n.Spilled > 0 {
			add("state_memory_bytes", n.Memory)
			add("state_spilled_bytes", n.Spilled)
		}
		for _, name := range sortedNames(s.LastIntent.Sources) {
			add("offset_"+name, s.LastIntent.Sources[name].To)
		}
		for _, name := range sortedNames(s.Last.Delivered) {
			add("delivered_"+name, s.Last.Delivered[name].Batch)
		}
	}
	if s.Pending != nil {
		add("unfinished_batch", s.Pending.Batch)
	}
}

func (e *env) batchesCommand() *cobra.Command {
	limit := 20
	c := e.queryCommand("batches", "list the batches that a query's log still has, newest first",
		func(_ context.Context, dataDir, query, form string) error {
			if limit < 0 {
				return diag.New(diag.Usage, "--limit is %d, expected 0 or more", limit)
			}
			return e.batches(dataDir, query, limit, form)
		})
	c.Flags().IntVar(&limit, "limit", limit, "most batches to list; 0 for all")
	return c
}

func (e *env) batches(dataDir, query string, limit int, form string) error {
	dir, err := queryDir(dataDir, query)
	if err != nil {
		return err
	}
	s, err := checkpoint.Inspect(vfs.OS{}, dir)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	l := listing{columns: []string{"batch", "time", "result", "rows_in", "used", "late", "dead", "rows_out",
		"state_rows", "watermark", "ms", "offsets"},
		right: set("batch", "rows_in", "used", "late", "dead", "rows_out", "state_rows", "ms")}
	for i := len(s.Batches) - 1; i >= 0 && (limit == 0 || len(l.rows) < limit); i-- {
		b := s.Batches[i]
		if b.Commit == nil {
			l.add(b.Intent.Batch, stamp(b.Intent.Time), "unfinished", nil, nil, nil, nil, nil, nil,
				micros(b.Intent.Watermark), nil, offsets(b))
			continue
		}
		var n checkpoint.SourceCount
		for _, c := range b.Commit.Sources {
			n.In, n.Used, n.Late, n.Dead = n.In+c.In, n.Used+c.Used, n.Late+c.Late, n.Dead+c.Dead
		}
		l.add(b.Intent.Batch, stamp(b.Intent.Time), "ok", n.In, n.Used, n.Late, n.Dead, b.Commit.Rows,
			b.Commit.State.Rows,
			micros(b.Commit.Watermark), b.Commit.Millis, offsets(b))
	}
	return l.print(e.stdout, form)
}

func offsets(b checkpoint.Replay) string {
	parts := make([]string, 0, len(b.Intent.Sources))
	for _, name := range sortedNames(b.Intent.Sources) {
		r := b.Intent.Sources[name]
		if r.From == r.To {
			parts = append(parts, name+" no data")
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s..%s", name, r.From, r.To))
	}
	return strings.Join(parts, ", ")
}

func (e *env) slotsCommand() *cobra.Command {
	return e.queryCommand("slots", "list the slots of a cron or backfill query with their states", e.slots)
}

// slots lists what can be read of a damaged query too.
func (e *env) slots(ctx context.Context, dataDir, query, form string) error {
	dir, err := queryThere(dataDir, query)
	if err != nil {
		return err
	}
	_, damage := look(ctx, dir)
	slots, err := engine.Slots(vfs.OS{}, dataDir, query)
	if err != nil && slots == nil {
		return err //nolint:wrapcheck // names the query
	}
	faults := []error{damage, err}
	held, err := vfs.Held(dir)
	if err != nil {
		return err //nolint:wrapcheck // names the lock
	}
	l := listing{columns: []string{"start", "end", "state", "rows", "attempts", "ms", "batch", "began",
		"error"},
		right: set("rows", "attempts", "ms", "batch")}
	for _, s := range slots {
		if s.State == engine.SlotDamaged {
			l.add(nil, nil, s.State, nil, nil, nil, nil, nil, s.Error)
			continue
		}
		state := s.State
		if state == engine.SlotRunning && held == nil {
			state = "interrupted"
		}
		l.add(stamp(s.Start), stamp(s.End), state, s.Rows, s.Attempts, s.Millis, s.Batch, stamp(s.Began),
			s.Error)
	}
	return errors.Join(l.print(e.stdout, form), faultsOf(faults))
}
