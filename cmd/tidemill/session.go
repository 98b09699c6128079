package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// sessionOptions say how a session works and prints.
type sessionOptions struct {
	form   string
	dir    string // scratch space
	memory int64
}

// session runs statements over declared sources and tables, one after another, on a sealed DuckDB of its own.
type session struct {
	e      *env
	app    *planner.App
	opt    sessionOptions
	timing bool

	db     *duck.DB
	work   *duck.Conn                // where SELECTs run
	plan   *duck.Conn                // where sources are planned
	tables map[*planner.Table]bool   // reference tables that are loaded
	inputs map[*planner.Source]input // how the rows of sources enter
}

// input is the part of a plan that says how a source's rows become its columns.
type input struct {
	sel    string
	schema *arrow.Schema
}

func (e *env) openSession(ctx context.Context, app *planner.App, o sessionOptions) (s *session, err error) {
	s = &session{e: e, app: app, opt: o, tables: map[*planner.Table]bool{},
		inputs: map[*planner.Source]input{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	s.db, err = duck.Open(ctx, duck.Options{Sealed: true, MemoryLimit: o.memory * 3 / 5,
		TempDir: filepath.Join(o.dir, "spill")})
	if err != nil {
		return s, fmt.Errorf("open DuckDB: %w", err)
	}
	if s.work, err = s.db.Conn(ctx); err != nil {
		return s, fmt.Errorf("connect to DuckDB: %w", err)
	}
	if s.plan, err = s.db.Conn(ctx); err != nil {
		return s, fmt.Errorf("connect to DuckDB: %w", err)
	}
	if _, err := s.work.Exec(ctx, sqlfront.Prelude()); err != nil {
		return s, fmt.Errorf("define the window macros: %w", err)
	}
	return s, nil
}

func (s *session) close() error {
	var errs []error
	for _, c := range []*duck.Conn{s.work, s.plan} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(errs...)
}

// exec checks a text as a whole and then runs its statements in order. What it declares stays in the session.
func (s *session) exec(ctx context.Context, text *diag.Text) error {
	var script *sqlfront.Script
	err := withLoader(ctx, func(conn *duck.Conn) (err error) {
		script, err = sqlfront.Parse(ctx, text, sqlfront.Env{Getenv: s.e.getenv, ReadFile: os.ReadFile,
			Registry: registry(s.e),
			Typer:    conn, Base: s.app})
		return err //nolint:wrapcheck // coded errors with their places
	})
	if err != nil {
		return err
	}
	s.app = script.App
	for _, st := range script.Statements {
		start := s.e.clock.Now()
		if err := s.statement(ctx, st); err != nil {
			return err
		}
		if s.timing {
			fmt.Fprintf(s.e.stderr, "time: %.1f ms\n",
				float64(s.e.clock.Now().Sub(start).Microseconds())/1000)
		}
	}
	return nil
}

func (s *session) statement(ctx context.Context, st sqlfront.Statement) error {
	switch st.Kind {
	case sqlfront.Create, sqlfront.Drop:
		if st.Absent {
			fmt.Fprintf(s.e.stderr, "there is no %s %s\n", strings.ToLower(string(st.Object)), st.Name)
			return nil
		}
		verb := map[sqlfront.Kind]string{sqlfront.Create: "created", sqlfront.Drop: "dropped"}[st.Kind]
		fmt.Fprintf(s.e.stderr, "%s %s %s\n", verb, strings.ToLower(string(st.Object)), st.Name)
		return nil
	case sqlfront.Show:
		return s.show(st.Object).print(s.e.stdout, s.opt.form)
	case sqlfront.Describe:
		return s.describe(ctx, st)
	case sqlfront.Explain:
		return s.explain(ctx, st)
	case sqlfront.Select:
		return s.selects(ctx, s.app.Text, st.Body)
	}
	return diag.New(diag.Internal, "statement of unknown kind %d", int(st.Kind))
}

// selects runs a SELECT and prints its rows.
func (s *session) selects(ctx context.Context, text *diag.Text, body diag.Span) error {
	sql := text.Body[body.Start:body.End]
	if err := s.prepare(ctx, sql); err != nil {
		return err
	}
	t, err := s.work.Select(ctx, sql)
	if err != nil {
		return sqlFault(err, text, body)
	}
	defer t.Release()
	return printRows(s.e.stdout, s.opt.form, t.Schema, t.Records)
}

// sqlFault places an error of DuckDB in the text that the user wrote.
func sqlFault(err error, text *diag.Text, body diag.Span) error {
	var de *duck.Error
	if !errors.As(err, &de) {
		return err
	}
	code := diag.SQLInvalid
	switch {
	case de.Kind == duck.OutOfMemory:
		code = diag.OutOfMemory
	case de.Kind == duck.Permission:
		code = diag.FunctionRefused
	case de.RowFault():
		code = diag.RowFault
	case de.Kind == duck.Fatal, de.Kind == duck.InternalFault, de.Kind == duck.Interrupt:
		return err
	}
	out := diag.New(code, "%s", strings.Join(strings.Fields(de.Message), " ")).At(text, body)
	if de.Position >= 0 {
		out.At(text, diag.Span{Start: body.Start + de.Position, End: body.Start + de.Position + 1})
	}
	if len(de.Candidates) > 0 {
		out.WithHint("did you mean %s?", strings.Join(de.Candidates, ", "))
	}
	if code == diag.FunctionRefused {
		out.WithHint("files are read by CREATE TABLE … AS FROM 'file', or by a source with connector = 'file'")
	}
	return out
}

// prepare makes what a SELECT reads: macros, rows of sources and tables, and views.
func (s *session) prepare(ctx context.Context, sql string) error {
	used := s.mentioned(ctx, sql)
	for _, t := range s.app.Tables { // before the macros, which may read them
		if used[strings.ToLower(t.Name)] && !s.tables[t] {
			if err := s.loadTables(ctx); err != nil {
				return err
			}
			break
		}
	}
	for _, m := range s.app.Macros {
		if !used[strings.ToLower(m.Name)] {
			continue
		}
		if _, err := s.work.Exec(ctx, m.Text); err != nil {
			return sqlFault(err, s.app.Text, diag.Span{})
		}
	}
	for _, src := range s.app.Sources {
		if used[strings.ToLower(src.Name)] {
			if err := s.loadSource(ctx, src); err != nil {
				return err
			}
		}
	}
	for _, v := range s.app.Views {
		if !used[strings.ToLower(v.Name)] {
			continue
		}
		if _, err := s.work.Exec(ctx,
			"CREATE OR REPLACE TEMP VIEW "+duck.QuoteIdent(v.Name)+" AS "+v.Body); err != nil {
			return fmt.Errorf("make view %q: %w", v.Name, err)
		}
	}
	return nil
}

// mentioned returns the declared names, in lower case, of what a SELECT reads: what stands in its FROM, what the views
// read that stand there, and what the macros name that it calls.
func (s *session) mentioned(ctx context.Context, sql string) map[string]bool {
	selects, texts := map[string]string{}, map[string]string{}
	for _, d := range s.app.Sources {
		selects[strings.ToLower(d.Name)] = ""
	}
	for _, d := range s.app.Tables {
		selects[strings.ToLower(d.Name)] = ""
	}
	for _, d := range s.app.Views {
		selects[strings.ToLower(d.Name)] = d.Body
	}
	for _, d := range s.app.Macros {
		texts[strings.ToLower(d.Name)] = d.Text
	}
	used := map[string]bool{}
	var look func(names func(name string) bool)
	look = func(names func(name string) bool) {
		for name, body := range selects {
			if !used[name] && names(name) {
				used[name] = true
				look(s.namesOf(ctx, body))
			}
		}
		for name, text := range texts {
			if !used[name] && names(name) {
				used[name] = true
				look(func(n string) bool { return planner.Mentions(text, n) })
			}
		}
	}
	look(s.namesOf(ctx, sql))
	return used
}

// namesOf tells which relations and functions a SELECT names. Of one that does not parse it may be any word.
func (s *session) namesOf(ctx context.Context, sql string) func(name string) bool {
	var tree any
	text, err := s.work.Parse(ctx, sql)
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err != nil {
		return func(name string) bool { return planner.Mentions(sql, name) }
	}
	found := map[string]bool{}
	relations(tree, false, found)
	return func(name string) bool { return found[name] }
}

// relations collects names of tables and functions, and those that a table function has as arguments, in lower case.
func relations(tree any, argument bool, found map[string]bool) {
	switch node := tree.(type) {
	case []any:
		for _, sub := range node {
			relations(sub, argument, found)
		}
	case map[string]any:
		argument = argument || node["type"] == "TABLE_FUNCTION"
		for key, sub := range node {
			text, isText := sub.(string)
			switch list, isList := sub.([]any); {
			case isText && (key == "table_name" || key == "function_name"):
				found[strings.ToLower(text)] = true
			case isList && key == "column_names" && argument:
				for _, name := range list {
					found[strings.ToLower(fmt.Sprint(name))] = true
				}
			default:
				relations(sub, argument, found)
			}
		}
	}
}

// loadSource puts all that a source holds now into a temporary table of its name.
func (s *session) loadSource(ctx context.Context, src *planner.Source) error {
	in, err := s.input(ctx, src)
	if err != nil {
		return err
	}
	var records []arrow.Record
	defer func() {
		for _, r := range records {
			r.Release()
		}
	}()
	dir, err := os.MkdirTemp(s.opt.dir, "source-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	faults := int64(0)
	opt := engine.Options{DataDir: dir, Registry: registry(s.e), Clock: s.e.clock}
	err = engine.Scan(ctx, opt, s.app, src.Name, engine.ScanOptions{}, func(p engine.Piece) (bool, error) {
		for _, r := range p.Records {
			numbered := number(r, in.schema)
			records = append(records, numbered)
		}
		faults += int64(len(p.Faults))
		return true, nil
	})
	if err != nil {
		return err //nolint:wrapcheck // coded errors that name the source
	}
	if faults > 0 {
		fmt.Fprintf(s.e.stderr, "%s of source %q did not decode; look with tidemill tail\n", plural(faults,
			"payload or row"), src.Name)
	}
	if err := s.work.Import(ctx, src.Name, in.sel, records, in.schema); err != nil {
		return fmt.Errorf("load source %q: %w", src.Name, err)
	}
	_, err = s.work.Exec(ctx, "ALTER TABLE "+duck.QuoteIdent(src.Name)+" DROP COLUMN "+planner.PosColumn)
	if err != nil {
		return fmt.Errorf("load source %q: %w", src.Name, err)
	}
	return nil
}

// input plans how a source's rows become its columns, the computed ones included.
func (s *session) input(ctx context.Context, src *planner.Source) (input, error) {
	if in, ok := s.inputs[src]; ok {
		return in, nil
	}
	body := "SELECT * FROM " + duck.QuoteIdent(src.Name)
	q := &planner.Query{Name: "__sql", Body: body, Text: body,
		Options: stream.Options{"watermark_policy": "min"}}
	plan, err := planner.Build(ctx, s.app, q, s.plan)
	if err != nil {
		return input{}, fmt.Errorf("read source %q: %w", src.Name, err)
	}
	in := input{sel: plan.Inputs[0].Select, schema: numberedSchema(plan.Inputs[0].Declared)}
	s.inputs[src] = in
	return in, nil
}

// loadTables loads every reference table anew: a body may read the tables before it.
func (s *session) loadTables(ctx context.Context) error {
	s.tables = map[*planner.Table]bool{}
	return engine.LoadTables(ctx, s.opt.memory*3/5, s.app, func(def *planner.Table, t *duck.Table) error {
		if err := s.work.Import(ctx, def.Name, "", t.Records, t.Schema); err != nil {
			return fmt.Errorf("load table %q: %w", def.Name, err)
		}
		s.tables[def] = true
		return nil
	})
}

func (s *session) show(object sqlfront.Object) *listing {
	l := &listing{columns: []string{"name", "kind", "detail"}}
	add := func(o sqlfront.Object, name, detail string) {
		if o == object || object == "" {
			l.add(name, strings.ToLower(string(o)), detail)
		}
	}
	for _, d := range s.app.Sources {
		add(sqlfront.SourceObject, d.Name, d.Connector)
	}
	for _, d := range s.app.Tables {
		detail := ""
		if d.Refresh > 0 {
			detail = "refresh every " + d.Refresh.String()
		}
		add(sqlfront.TableObject, d.Name, detail)
	}
	for _, d := range s.app.Views {
		add(sqlfront.ViewObject, d.Name, "")
	}
	for _, d := range s.app.Macros {
		add(sqlfront.MacroObject, d.Name, "")
	}
	for _, d := range s.app.Sinks {
		add(sqlfront.SinkObject, d.Name, d.Connector)
	}
	for _, d := range s.app.Queries {
		add(sqlfront.QueryObject, d.Name, fmt.Sprintf("%s, %s, into %s", d.Trigger, d.Mode,
			strings.Join(d.Sinks, ", ")))
	}
	sort.SliceStable(l.rows, func(i, j int) bool { return text(l.rows[i][0]) < text(l.rows[j][0]) })
	return l
}
