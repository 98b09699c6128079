package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	c.RunE = func(*cobra.Command, []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		return e.ls(*dataDir, chosen)
	}
	return c
}

// ls needs no lock. A query that can not be read has its fault in its line.
func (e *env) ls(dataDir, form string) error {
	names, err := queriesOf(dataDir)
	if err != nil {
		return err
	}
	l := listing{columns: []string{"query", "state", "batches", "rows_in", "rows_out", "late", "dead",
		"watermark", "last_batch", "log_bytes"},
		right: set("batches", "rows_in", "rows_out", "late", "dead", "log_bytes")}
	var faults []error
	for _, name := range names {
		dir := engine.DataDirOf(dataDir, name)
		s, err := checkpoint.Inspect(vfs.OS{}, dir)
		if err != nil {
			l.add(name, "unusable", nil, nil, nil, nil, nil, nil, nil, nil)
			faults = append(faults, err)
			continue
		}
		state, _, err := stateOf(dir, s)
		if err != nil {
			return err
		}
		t, watermark, last := checkpoint.Totals{}, any(nil), any(nil)
		if s.Last != nil {
			t, watermark, last = s.Last.Totals, micros(s.Last.Watermark), stamp(s.LastIntent.Time)
		}
		l.add(name, state, t.Batches, t.In, t.Out, t.Late, t.Dead, watermark, last, s.LogBytes)
	}
	return errors.Join(l.print(e.stdout, form), errors.Join(faults...))
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
		if _, err := os.Stat(filepath.Join(dataDir, entry.Name(), metaFile)); err == nil {
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
	for _, name := range names {
		if name == query {
			return engine.DataDirOf(dataDir, name), nil
		}
	}
	if dir := engine.DataDirOf(dataDir, query); query != "" && exists(filepath.Join(dir, "log")) {
		return "", diag.New(diag.CheckpointUnusable, "%s holds a log, but no %s", dir, metaFile).
			WithHint("restore the directory from a copy, or start the query anew in another one")
	}
	e := diag.New(diag.Usage, "data dir %q has no query %q", dataDir, query)
	if near := diag.Near(query, names); near != "" {
		return "", e.WithHint("did you mean %q?", near)
	}
	return "", e.WithHint("tidemill ls lists the queries there")
}

// stateOf says whether somebody runs a query now, and who.
func stateOf(dir string, s *checkpoint.Summary) (state, holder string, err error) {
	held, err := vfs.Held(dir)
	if err != nil {
		return "", "", err //nolint:wrapcheck // names the lock
	}
	state = "interrupted"
	if s.Closed {
		state = "stopped"
	}
	if held == nil {
		return state, "", nil
	}
	return "running", strings.TrimSpace(held.PID + " " + held.Host), nil
}

func (e *env) showCommand() *cobra.Command {
	c := &cobra.Command{Use: "show QUERY",
		Short: "show where a query stands: offsets, totals, watermarks, state, SQL", Args: exactArgs("QUERY")}
	dataDir, form := e.reading(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		return e.show(*dataDir, args[0], chosen)
	}
	return c
}

func (e *env) show(dataDir, query, form string) error {
	dir, err := queryDir(dataDir, query)
	if err != nil {
		return err
	}
	s, err := checkpoint.Inspect(vfs.OS{}, dir)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	state, holder, err := stateOf(dir, s)
	if err != nil {
		return err
	}
	fields := listing{columns: []string{"field", "value"}}
	add := func(name string, value any) { fields.add(name, value) }
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
	switch form {
	case "json", "jsonl":
		add("sql", s.Meta.SQL)
		return fields.printRecord(e.stdout, form == "json")
	case "table":
		fmt.Fprintf(e.stdout, "%s\n%s\n", fields.table(), strings.TrimSpace(s.Meta.SQL))
		return nil
	}
	add("sql", s.Meta.SQL)
	return fields.print(e.stdout, form)
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
	c := &cobra.Command{Use: "batches QUERY",
		Short: "list the batches that a query's log still has, newest first", Args: exactArgs("QUERY")}
	dataDir, form := e.reading(c)
	limit := c.Flags().Int("limit", 20, "most batches to list; 0 for all")
	c.RunE = func(_ *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		if *limit < 0 {
			return diag.New(diag.Usage, "--limit is %d, expected 0 or more", *limit)
		}
		return e.batches(*dataDir, args[0], *limit, chosen)
	}
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
	c := &cobra.Command{Use: "slots QUERY",
		Short: "list the slots of a cron or backfill query with their states", Args: exactArgs("QUERY")}
	dataDir, form := e.reading(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		return e.slots(*dataDir, args[0], chosen)
	}
	return c
}

func (e *env) slots(dataDir, query, form string) error {
	dir, err := queryDir(dataDir, query)
	if err != nil {
		return err
	}
	slots, err := engine.Slots(vfs.OS{}, dataDir, query)
	if err != nil {
		return err //nolint:wrapcheck // names the query
	}
	held, err := vfs.Held(dir)
	if err != nil {
		return err //nolint:wrapcheck // names the lock
	}
	l := listing{columns: []string{"start", "end", "state", "rows", "attempts", "ms", "batch", "began",
		"error"},
		right: set("rows", "attempts", "ms", "batch")}
	for _, s := range slots {
		state := s.State
		if state == engine.SlotRunning && held == nil {
			state = "interrupted"
		}
		l.add(stamp(s.Start), stamp(s.End), state, s.Rows, s.Attempts, s.Millis, s.Batch, stamp(s.Began),
			s.Error)
	}
	return l.print(e.stdout, form)
}
