package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/files"
)

func (e *env) filesCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "files PATH | files SINK FILE.sql",
		Short: "list the exact committed files of a parquet, json or csv sink",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return diag.New(diag.Usage, "%s takes PATH, or SINK FILE.sql, not %d words", c.CommandPath(),
				len(args)).
				WithHint("see %s --help", c.CommandPath())
		},
	}
	form := e.outputFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		chosen, err := form()
		if err != nil {
			return err
		}
		root := args[0]
		if len(args) == 2 {
			if root, err = e.sinkPath(c.Context(), args[0], args[1]); err != nil {
				return err
			}
		}
		return e.files(root, chosen)
	}
	return c
}

// sinkPath returns the folder of a files sink that a file declares.
func (e *env) sinkPath(ctx context.Context, sink, path string) (string, error) {
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return "", err
	}
	def, err := named(app.Sinks, func(d *planner.Sink) string { return d.Name }, "sink", sink, path)
	if err != nil {
		return "", err
	}
	if _, ok := files.Connectors()[def.Connector]; !ok {
		return "", diag.New(diag.Usage, "sink %q is a %s sink, which has no files", sink, def.Connector).
			WithHint("parquet, json and csv sinks have files")
	}
	return def.Options.String("path"), nil
}

// files lists what a reader must read, no more and no fewer. It may run beside the sink.
func (e *env) files(root, form string) error {
	if info, err := os.Stat(filepath.Join(root, "_log")); err != nil || !info.IsDir() {
		return diag.New(diag.Usage, "%q is not the folder of a files sink: it has no _log", root).
			WithHint("give the path option of a parquet, json or csv sink that has written")
	}
	list, err := files.Files(vfs.OS{}, root)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	l := listing{columns: []string{"path", "rows", "bytes", "batch", "slot"}, right: set("rows", "bytes",
		"batch")}
	for _, f := range list {
		var slot any
		if f.Slot != "" {
			slot = f.Slot
		}
		l.add(f.Path, f.Rows, f.Size, f.Batch, slot)
	}
	return l.print(e.stdout, form)
}

// named finds a definition by its name, or says which name is near.
func named[D any](list []*D, name func(*D) string, kind, want, where string) (*D, error) {
	names := make([]string, len(list))
	for i, d := range list {
		if name(d) == want {
			return d, nil
		}
		names[i] = name(d)
	}
	err := diag.New(diag.UnknownName, "%s %q is not defined in %s", kind, want, where)
	if near := diag.Near(want, names); near != "" {
		err.WithHint("did you mean %q?", near)
	}
	return nil, err
}
