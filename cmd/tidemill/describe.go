package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// describe prints the columns of what has columns, and the options of what has options.
func (s *session) describe(ctx context.Context, st sqlfront.Statement) error {
	l := &listing{columns: []string{"name", "type", "detail"}}
	switch st.Object {
	case sqlfront.SourceObject:
		src := find(s.app.Sources, func(d *planner.Source) string { return d.Name }, st.Name)
		for _, c := range src.Columns {
			l.add(c.Name, c.Type, columnDetail(src, c))
		}
	case sqlfront.SinkObject:
		addOptions(l, find(s.app.Sinks, func(d *planner.Sink) string { return d.Name }, st.Name).Options)
	case sqlfront.QueryObject:
		q := find(s.app.Queries, func(d *planner.Query) string { return d.Name }, st.Name)
		plan, err := planner.Build(ctx, s.app, q, s.plan)
		if err != nil {
			return s.placedNow(err, q, st)
		}
		for _, c := range plan.Schema {
			l.add(c.Name, c.Type, "")
		}
	case sqlfront.MacroObject:
		m := find(s.app.Macros, func(d *planner.Macro) string { return d.Name }, st.Name)
		l.add(m.Name, "macro", strings.Join(strings.Fields(m.Text), " "))
	default:
		name := "FROM " + duck.QuoteIdent(st.Name)
		if err := s.prepare(ctx, name); err != nil {
			return err
		}
		columns, err := s.work.Describe(ctx, name)
		if err != nil {
			return sqlFault(err, s.app.Text, st.Span)
		}
		for _, c := range columns {
			l.add(c.Name, c.Type, "")
		}
	}
	return l.print(s.e.stdout, s.opt.form)
}

func columnDetail(src *planner.Source, c planner.Column) string {
	switch {
	case src.Watermark != nil && src.Watermark.Column == c.Name:
		return fmt.Sprintf("event time, watermark %s behind", src.Watermark.Delay)
	case c.Metadata:
		return "from the transport"
	case c.Expr != "":
		return "computed: " + c.Expr
	}
	return ""
}

// addOptions lists options as they are in force, as they may be shown.
func addOptions(l *listing, o stream.Options) {
	shown := sqlfront.OptionText(o)
	for _, name := range sortedNames(shown) {
		l.add(name, "option", shown[name])
	}
}

func find[D any](list []*D, name func(*D) string, want string) *D {
	d, err := named(list, name, "", want, "")
	if err != nil {
		return new(D) // sqlfront has checked that it is there
	}
	return d
}

// placedNow puts the faults of a query that an earlier text of the session declared at the statement that found them:
// their own places are in that text, which is gone.
func (s *session) placedNow(err error, q *planner.Query, st sqlfront.Statement) error {
	text := s.app.Text
	if end := q.Span.End; end <= len(text.Body) && strings.Contains(text.Body[q.Span.Start:end], q.Name) {
		return err
	}
	for _, e := range diag.All(err) {
		e.At(text, st.Span)
	}
	return err
}

// explain prints the plan of a query as a stream, or the SQL of its batch run.
func (s *session) explain(ctx context.Context, st sqlfront.Statement) error {
	q := find(s.app.Queries, func(d *planner.Query) string { return d.Name }, st.Name)
	plan, err := planner.Build(ctx, s.app, q, s.plan)
	if err != nil {
		return s.placedNow(err, q, st)
	}
	if st.Batch {
		_, err = fmt.Fprintf(s.e.stdout,
			"batch run of %s: the plan below once, over all rows, with the watermark at infinity\n%s\n",
			plan.Query, plan.Explain())
	} else {
		_, err = fmt.Fprintln(s.e.stdout, plan.Explain())
	}
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// numberedSchema is what a source's rows have on their way in: the declared columns and their position.
func numberedSchema(columns []stream.Column) *arrow.Schema {
	fields := make([]arrow.Field, 0, len(columns)+1)
	for _, c := range columns {
		fields = append(fields, arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true})
	}
	return arrow.NewSchema(append(fields, arrow.Field{Name: planner.PosColumn,
		Type: arrow.PrimitiveTypes.Int64}), nil)
}

// number adds the position that plans expect. Nothing here looks at it, so each record counts from 0.
func number(rec arrow.Record, schema *arrow.Schema) arrow.Record {
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	for i := range rec.NumRows() {
		b.Append(i)
	}
	pos := b.NewArray()
	defer pos.Release()
	return array.NewRecord(schema, append(append([]arrow.Array(nil), rec.Columns()...), pos), rec.NumRows())
}
