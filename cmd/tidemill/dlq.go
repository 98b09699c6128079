package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/letters"
)

// letterDir is where a query keeps its dead letters.
const letterDir = "dead_letters"

func (e *env) dlqCommand() *cobra.Command {
	parent := &cobra.Command{Use: "dlq", Short: "look at dead letters and late rows, and send them again",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	parent.AddCommand(e.dlqLsCommand(), e.dlqShowCommand(), e.dlqReplayCommand())
	return parent
}

// letterFilter says which letters of a query a command is about.
type letterFilter struct {
	batch  int64
	source string
	kind   string
}

func (f *letterFilter) flags(c *cobra.Command) {
	c.Flags().Int64Var(&f.batch, "batch", -1, "only letters of this batch")
	c.Flags().StringVar(&f.source, "source", "", "only letters of this source")
	c.Flags().StringVar(&f.kind, "kind", "all", "dead, late or all")
}

func (f *letterFilter) check() error {
	if f.kind != "all" && f.kind != string(letters.Dead) && f.kind != string(letters.Late) {
		return diag.New(diag.Usage, "--kind %q is not dead, late or all", f.kind)
	}
	return nil
}

func (f *letterFilter) takes(l letters.Letter) bool {
	return (f.source == "" || l.Source == f.source) && (f.kind == "all" || string(l.Kind) == f.kind)
}

// each hands the letters of a query that the filter takes to use, oldest first. A file that can not be read does not
// keep it from the others; it is in the error.
func (f *letterFilter) each(dir string, use func(letters.Letter) (more bool, err error)) error {
	box := filepath.Join(dir, letterDir)
	files, err := letters.List(vfs.OS{}, box)
	if err != nil {
		return err //nolint:wrapcheck // names what it did
	}
	var faults []error
	for _, file := range files {
		if f.batch >= 0 && file.Batch != f.batch {
			continue
		}
		list, err := letters.Read(vfs.OS{}, box, file.Batch)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for _, l := range list {
			if !f.takes(l) {
				continue
			}
			if more, err := use(l); err != nil || !more {
				return errors.Join(err, faultsOf(faults))
			}
		}
	}
	return faultsOf(faults)
}

func (e *env) dlqLsCommand() *cobra.Command {
	c := &cobra.Command{Use: "ls [QUERY]", Short: "count letters by query, batch, source and kind",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return nil
			}
			return exactArgs("at most one QUERY")(c, args)
		}}
	dataDir, form := e.reading(c)
	filter := &letterFilter{}
	filter.flags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		if err := filter.check(); err != nil {
			return err
		}
		return e.dlqLs(c.Context(), *dataDir, args, filter, chosen)
	}
	return c
}

// dlqLs counts what can be read of a damaged query too; its damage has a line of its own.
func (e *env) dlqLs(ctx context.Context, dataDir string, args []string, filter *letterFilter, form string) error {
	names, err := queriesOf(dataDir)
	if err != nil {
		return err
	}
	if len(args) == 1 {
		if _, err := queryThere(dataDir, args[0]); err != nil {
			return err
		}
		names = args
	}
	l := listing{columns: []string{"query", "batch", "source", "kind", "letters", "replayed", "first_reason"},
		right: set("batch", "letters", "replayed")}
	var faults []error
	for _, name := range names {
		dir := engine.DataDirOf(dataDir, name)
		_, damage := look(ctx, dir)
		for _, err := range []error{damage, countLetters(&l, name, dir, filter)} {
			if err != nil {
				l.add(name, nil, nil, damaged, nil, nil, message(err))
				faults = append(faults, err)
			}
		}
	}
	return errors.Join(l.print(e.stdout, form), faultsOf(faults))
}

// countLetters adds a line for each batch, source and kind of a query's letters.
func countLetters(l *listing, name, dir string, filter *letterFilter) error {
	replayed, err := readReplayed(dir)
	if err != nil {
		return err
	}
	type group struct {
		batch  int64
		source string
		kind   letters.Kind
	}
	rows := map[group][]any{}
	return filter.each(dir, func(x letters.Letter) (bool, error) {
		again := 0
		if replayed.anywhere(x) {
			again = 1
		}
		if row := rows[group{x.Batch, x.Source, x.Kind}]; row != nil {
			row[4], row[5] = row[4].(int)+1, row[5].(int)+again //nolint:forcetypeassert // put there below
			return true, nil
		}
		row := []any{name, x.Batch, x.Source, string(x.Kind), 1, again, x.Reason}
		rows[group{x.Batch, x.Source, x.Kind}] = row
		l.rows = append(l.rows, row)
		return true, nil
	})
}

func (e *env) dlqShowCommand() *cobra.Command {
	c := &cobra.Command{Use: "show QUERY", Short: "print letters: where, why, and the original bytes",
		Args: exactArgs("QUERY")}
	dataDir, form := e.reading(c)
	filter := &letterFilter{}
	filter.flags(c)
	limit := c.Flags().Int("limit", 0, "most letters to print; 0 for all")
	c.RunE = func(_ *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		if err := filter.check(); err != nil {
			return err
		}
		dir, err := queryDir(*dataDir, args[0])
		if err != nil {
			return err
		}
		return e.dlqShow(dir, filter, *limit, chosen)
	}
	return c
}

func (e *env) dlqShow(dir string, filter *letterFilter, limit int, form string) error {
	l := listing{columns: []string{"batch", "source", "place", "row", "kind", "reason", "payload"},
		right: set("batch", "row")}
	var objects []json.RawMessage
	err := filter.each(dir, func(x letters.Letter) (bool, error) {
		data, err := json.Marshal(x)
		if err != nil {
			return false, fmt.Errorf("write letter: %w", err)
		}
		objects = append(objects, data)
		l.add(x.Batch, x.Source, x.Place(), x.Index, string(x.Kind), x.Reason, preview(x, form))
		return limit == 0 || len(l.rows) < limit, nil
	})
	return errors.Join(e.printLetters(&l, objects, form), err)
}

// printLetters writes letters whole, or as a table of their first bytes.
func (e *env) printLetters(l *listing, objects []json.RawMessage, form string) error {
	var err error
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	switch form {
	case "json":
		enc.SetIndent("", "  ")
		if objects == nil {
			objects = []json.RawMessage{}
		}
		err = enc.Encode(objects)
	case "jsonl":
		for _, o := range objects {
			if err == nil {
				err = enc.Encode(o)
			}
		}
	default:
		return l.print(e.stdout, form)
	}
	if err != nil {
		return fmt.Errorf("write letters: %w", err)
	}
	return nil
}

// preview is the payload, or the row where the source gives rows; cut short in a table.
func preview(l letters.Letter, form string) string {
	const shown = 60
	body := string(l.Payload)
	if l.Payload == nil {
		body = string(l.Row)
	}
	body = strings.ToValidUTF8(body, "\ufffd")
	if form == "table" && utf8.RuneCountInString(body) > shown {
		body = string([]rune(body)[:shown-1]) + "…"
	}
	return body
}
