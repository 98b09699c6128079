package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// Parse reads and checks SQL text against the connectors of registry. name stands for the text in messages. Variables
// and secrets come from the process's environment, and the columns of a reference table from the file it reads. All
// faults of the text come back joined; each is an *Error with its place. Queries are planned only when they are opened.
func Parse(ctx context.Context, registry stream.Registry, name, sql string) (*planner.App, error) {
	return Parser(registry)(ctx, &diag.Text{Name: name, Body: sql})
}

// Parser returns what Options.Parse wants, for a registry.
func Parser(registry stream.Registry) func(ctx context.Context, text *diag.Text) (*planner.App, error) {
	return func(ctx context.Context, text *diag.Text) (_ *planner.App, err error) {
		db, err := duck.Open(ctx, duck.Options{MemoryLimit: 256 << 20, Threads: 1})
		if err != nil {
			return nil, fmt.Errorf("open DuckDB: %w", err)
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, fmt.Errorf("connect to DuckDB: %w", err)
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		script, err := sqlfront.Parse(ctx, text, sqlfront.Env{Getenv: os.LookupEnv, ReadFile: os.ReadFile,
			Registry: registry, Typer: conn})
		if err != nil {
			return nil, err //nolint:wrapcheck // coded errors with their places
		}
		return script.App, nil
	}
}

// Render returns an error as the command line prints it: every coded fault with its line, carets and hint.
func Render(err error) string { return diag.Render(err) }
