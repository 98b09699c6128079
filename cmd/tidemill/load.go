package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// readText reads a SQL file, or standard input for "-".
func (e *env) readText(path string) (*diag.Text, error) {
	if path == "-" {
		data, err := io.ReadAll(e.stdin)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return &diag.Text{Name: "<stdin>", Body: string(data)}, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.New(diag.Usage, "%q can not be read: %s", path, reasonOf(err))
	}
	return &diag.Text{Name: path, Body: string(data)}, nil
}

// reasonOf is what the system says of a file, without the path.
func reasonOf(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// load reads and checks a SQL file.
func (e *env) load(ctx context.Context, path string, reg stream.Registry) (*planner.App, error) {
	text, err := e.readText(path)
	if err != nil {
		return nil, err
	}
	return e.parse(ctx, text, reg)
}

// parse checks a SQL text. DuckDB types and parses it in an instance of its own.
func (e *env) parse(ctx context.Context, text *diag.Text, reg stream.Registry) (*planner.App, error) {
	script, err := e.script(ctx, text, reg)
	if err != nil {
		if script != nil && script.Rest != nil {
			err = e.furtherFaults(ctx, script.Rest, err)
		}
		return nil, err
	}
	return script.App, nil
}

// furtherFaults adds to the faults of a text those of the queries that they leave readable, so that all show at once.
func (e *env) furtherFaults(ctx context.Context, rest *sqlfront.Rest, err error) error {
	all := diag.All(err)
	_, more := e.plansOf(ctx, rest.App, rest.App.Queries, func(name string) bool { return rest.Whole[name] })
	all = append(all[:len(all):len(all)], diag.All(more)...)
	all.Sort()
	return all
}

func (e *env) script(ctx context.Context, text *diag.Text, reg stream.Registry) (s *sqlfront.Script,
	err error) {
	err = withLoader(ctx, func(conn *duck.Conn) error {
		s, err = sqlfront.Parse(ctx, text, sqlfront.Env{Getenv: e.getenv, ReadFile: os.ReadFile,
			Registry: reg, Typer: conn})
		return err //nolint:wrapcheck // coded errors with their places
	})
	return s, err
}

// withLoader lends a connection to a DuckDB of its own that may look at files: the columns of a reference table are
// those of the file that its body reads.
func withLoader(ctx context.Context, use func(*duck.Conn) error) error {
	return lend(ctx, duck.Options{MemoryLimit: 256 << 20, Threads: 1}, use)
}

// withDuck lends a connection to a sealed DuckDB of its own.
func withDuck(ctx context.Context, use func(*duck.Conn) error) error {
	return lend(ctx, duck.Options{Sealed: true, MemoryLimit: 256 << 20, Threads: 1}, use)
}

func lend(ctx context.Context, opt duck.Options, use func(*duck.Conn) error) (err error) {
	db, err := duck.Open(ctx, opt)
	if err != nil {
		return fmt.Errorf("open DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return use(conn)
}
