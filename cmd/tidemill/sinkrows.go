package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/files"
)

// sinkReader returns what reads all that a sink holds of a query, as any other program would read it.
func (e *env) sinkReader(sink *planner.Sink, plan *planner.Plan) (engine.SinkReader, error) {
	switch sink.Connector {
	case "parquet", "json", "csv":
		return func(ctx context.Context, conn *duck.Conn, table string) error {
			return readFiles(ctx, conn, table, sink, plan)
		}, nil
	case "duckdb":
		return func(ctx context.Context, conn *duck.Conn, table string) error {
			return readDuckDB(ctx, conn, table, sink)
		}, nil
	case "jetstream":
		return func(ctx context.Context, conn *duck.Conn, table string) error {
			return e.readStream(ctx, conn, table, sink, plan)
		}, nil
	}
	return nil, diag.New(diag.Usage, "what sink %q (%s) holds can not be read back", sink.Name, sink.Connector)
}

// columnTypes writes the plan's columns as a DuckDB struct of types, for readers that do not know them.
func columnTypes(plan *planner.Plan) string {
	cols := make([]string, len(plan.Schema))
	for i, c := range plan.Schema {
		cols[i] = duck.QuoteLiteral(c.Name) + ": " + duck.QuoteLiteral(c.Type)
	}
	return "{" + strings.Join(cols, ", ") + "}"
}

func readFiles(ctx context.Context, conn *duck.Conn, table string, sink *planner.Sink, plan *planner.Plan) error {
	list, err := files.Files(vfs.OS{}, sink.Options.String("path"))
	if err != nil {
		return fmt.Errorf("list the files of sink %q: %w", sink.Name, err)
	}
	if len(list) == 0 {
		schema, err := emptySchema(plan)
		if err != nil {
			return err
		}
		return conn.Import(ctx, table, "", nil, schema) //nolint:wrapcheck // the engine says what failed
	}
	paths := make([]string, len(list))
	for i, f := range list {
		paths[i] = duck.QuoteLiteral(f.Path)
	}
	from := "[" + strings.Join(paths, ", ") + "]"
	switch sink.Connector {
	case "parquet":
		from = "read_parquet(" + from + ", hive_partitioning := true)"
	case "json":
		from = "read_json(" + from + ", format := 'newline_delimited', columns := " + columnTypes(plan) + ")"
	default:
		from = "read_csv(" + from + ", columns := " + columnTypes(plan) + ")"
	}
	if _, err := conn.Exec(ctx, "CREATE TEMP TABLE "+duck.QuoteIdent(table)+" AS FROM "+from); err != nil {
		return fmt.Errorf("read the files of sink %q: %w", sink.Name, err)
	}
	return nil
}

func emptySchema(plan *planner.Plan) (*arrow.Schema, error) {
	fields := make([]arrow.Field, len(plan.Schema))
	for i, c := range plan.Schema {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true}
	}
	return arrow.NewSchema(fields, nil), nil
}

func readDuckDB(ctx context.Context, conn *duck.Conn, table string, sink *planner.Sink) (err error) {
	db, err := duck.Open(ctx, duck.Options{Path: sink.Options.String("path"), MemoryLimit: 256 << 20})
	if err != nil {
		return fmt.Errorf("open the file of sink %q: %w", sink.Name, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	other, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to the file of sink %q: %w", sink.Name, err)
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	name := sink.Options.String("table")
	if name == "" {
		name = sink.Name
	}
	rows, err := other.Select(ctx, "SELECT * FROM "+duck.QuoteIdent(name))
	if err != nil {
		return fmt.Errorf("read table %q of sink %q: %w", name, sink.Name, err)
	}
	defer rows.Release()
	return conn.Import(ctx, table, "", rows.Records, rows.Schema) //nolint:wrapcheck // the engine says what failed
}

// readStream reads a stream's messages back through a source of Tidemill's own.
func (e *env) readStream(
	ctx context.Context, conn *duck.Conn, table string, sink *planner.Sink, plan *planner.Plan,
) (err error) {
	cols := make([]string, len(plan.Schema))
	for i, c := range plan.Schema {
		cols[i] = duck.QuoteIdent(c.Name) + " " + c.Type
	}
	subject := sink.Options.String("subject")
	if subject == "" {
		subject = strings.ToLower(sink.Options.String("stream"))
	}
	format := sink.Options.String("payload")
	if format == "" {
		format = "ndjson"
	}
	text := fmt.Sprintf("CREATE SOURCE back (%s) WITH (connector = 'jetstream', url = %s, stream = %s, subject = %s, format = %s,\n"+
		"  compression = 'auto');\n"+
		"CREATE SINK nowhere WITH (connector = 'console');\nCREATE QUERY back_query INTO nowhere AS SELECT * FROM back;",
		strings.Join(cols, ", "), duck.QuoteLiteral(sink.Options.String("url")),
		duck.QuoteLiteral(sink.Options.String("stream")), duck.QuoteLiteral(subject), duck.QuoteLiteral(format))
	app, err := e.parse(ctx, &diag.Text{Name: "sink " + sink.Name, Body: text}, registry(e))
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "tidemill-read-")
	if err != nil {
		return fmt.Errorf("make a scratch folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	res, err := engine.Batch(ctx, engine.Options{DataDir: scratch, Registry: registry(e)}, app, "back_query", engine.BatchOptions{})
	if err != nil {
		return fmt.Errorf("read the stream of sink %q: %w", sink.Name, err)
	}
	defer res.Release()
	return conn.Import(ctx, table, "", res.Result.Records, res.Result.Schema) //nolint:wrapcheck // the engine says what failed
}
