package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

func (e *env) sqlCommand() *cobra.Command {
	var command, memory string
	var from reading
	c := &cobra.Command{
		Use:   "sql [FILE.sql]",
		Short: "query sources and tables: one text with -c, or a prompt",
		Long: "A SELECT over a source runs once over the source's whole history. The file's declarations are there from the\n" +
			"start; CREATE and DROP change this session only. Nothing is written anywhere.",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 {
				return nil
			}
			return diag.New(diag.Usage, "%s takes at most one FILE.sql, not %d words", c.CommandPath(),
				len(args)).
				WithHint("see %s --help", c.CommandPath())
		},
	}
	c.Flags().StringVarP(&command, "command", "c", "", "run these statements and end")
	c.Flags().StringVar(&memory, "memory-limit", "",
		"memory of the whole process, such as '2 GiB' (default: half of the machine's)")
	from.add(e, c)
	form := e.outputFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		path := ""
		if len(args) == 1 {
			path = args[0]
		}
		var text *string
		if c.Flags().Changed("command") {
			text = &command
		}
		return e.sql(c.Context(), sqlOptions{path: path, command: text, form: chosen, memory: memory, reading: from})
	}
	return c
}

// sqlOptions are what sql was asked for.
type sqlOptions struct {
	path    string  // declarations to begin with; "" for none
	command *string // nil for a prompt
	form    string
	memory  string
	reading
}

func (e *env) sql(ctx context.Context, o sqlOptions) (err error) {
	limit, err := memoryLimit(o.memory)
	if err != nil {
		return err
	}
	e.shareMemory(limit)
	stopNATS, err := e.embedNATS(o.brokerFlags, o.dataDir)
	if err != nil {
		return err
	}
	defer stopNATS()
	app := &planner.App{Text: &diag.Text{Name: "<session>"}}
	if o.path != "" {
		if app, err = e.load(ctx, o.path, registry(e)); err != nil {
			return err
		}
	}
	scratch, err := os.MkdirTemp("", "tidemill-sql-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }() // scratch space
	s, err := e.openSession(ctx, app, sessionOptions{form: o.form, dir: scratch, memory: limit})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.close(); err == nil {
			err = cerr
		}
	}()
	if o.command != nil {
		ctx, done := e.cancelled(ctx)
		defer done()
		return aborted(ctx, s.exec(ctx, &diag.Text{Name: "<command line>", Body: *o.command}))
	}
	return e.prompt(ctx, s)
}
