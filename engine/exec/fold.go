package exec

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// Fold adds up the results of update mode of two plans of one query, whose rows have the same names: what a sink holds
// by the old one, and what it is to hold by the new one. It lives in DuckDB. One goroutine uses it.
type Fold struct {
	conn     *duck.Conn
	old, new *folded
}

// folded is the table of one plan's rows as they are.
type folded struct {
	name string
	plan *planner.Plan
	rows int64
	dead int64 // deleted since the table was last rewritten
}

// NewFold makes an empty Fold. The caller closes it.
func NewFold(ctx context.Context, db *duck.DB, old, next *planner.Plan) (*Fold, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to DuckDB: %w", err)
	}
	return &Fold{conn: conn, old: &folded{name: "__held", plan: old}, new: &folded{name: "__holds", plan: next}}, nil
}

// Old takes a batch's result by the old plan, New one by the new plan. b is borrowed.
func (f *Fold) Old(ctx context.Context, b stream.Batch) error { return f.apply(ctx, f.old, b) }

// New is Old for the new plan.
func (f *Fold) New(ctx context.Context, b stream.Batch) error { return f.apply(ctx, f.new, b) }

const foldBatch = "__folding"

func (f *Fold) apply(ctx context.Context, t *folded, b stream.Batch) error {
	if b.NumRows() == 0 {
		return nil
	}
	if err := f.conn.Import(ctx, foldBatch, "", b.Records, b.Records[0].Schema()); err != nil {
		return fmt.Errorf("fold a result: %w", err)
	}
	names := columnNames(t.plan.Schema)
	if t.rows == 0 && t.dead == 0 {
		if err := f.exec(ctx, "CREATE OR REPLACE TEMP TABLE "+t.name+" AS SELECT "+names+" FROM "+foldBatch+" LIMIT 0"); err != nil {
			return err
		}
	}
	gone, err := f.conn.Exec(ctx, "DELETE FROM "+t.name+" t USING "+foldBatch+" b WHERE "+sameNames(t.plan, "t", "b"))
	if err != nil {
		return fmt.Errorf("fold a result: %w", err)
	}
	upserts := ""
	if b.Op {
		upserts = " WHERE " + stream.OpColumn + " = '" + stream.OpUpsert + "'"
	}
	put, err := f.conn.Exec(ctx, "INSERT INTO "+t.name+" SELECT "+names+" FROM "+foldBatch+upserts)
	if err != nil {
		return fmt.Errorf("fold a result: %w", err)
	}
	t.rows, t.dead = t.rows+put-gone, t.dead+gone
	if !mostlyDead(t.dead, t.rows) {
		return nil
	}
	t.dead = 0
	return f.exec(ctx, "CREATE OR REPLACE TEMP TABLE "+t.name+" AS FROM "+t.name)
}

func (f *Fold) exec(ctx context.Context, sql string) error {
	if _, err := f.conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("fold a result: %w", err)
	}
	return nil
}

// Result returns what a sink that holds the rows of the old plan has to be told to hold those of the new one: each of
// these as an upsert, and deletes of the others. The caller releases it.
func (f *Fold) Result(ctx context.Context) (stream.Batch, error) {
	plan := f.new.plan
	b := stream.Batch{Schema: resultSchema(plan.Schema), Keys: slices.Clone(plan.Keys), Op: true}
	var parts []string
	if f.new.rows > 0 {
		parts = append(parts, "SELECT "+columnNames(plan.Schema)+", '"+stream.OpUpsert+"' AS "+stream.OpColumn+" FROM "+f.new.name)
	}
	if f.old.rows > 0 {
		gone := make([]string, len(plan.Schema))
		for i, c := range plan.Schema {
			n := duck.QuoteIdent(c.Name)
			gone[i] = "CAST(NULL AS " + c.Type + ") AS " + n
			if slices.Contains(plan.Keys, i) {
				gone[i] = "o." + n
			}
		}
		sql := "SELECT " + strings.Join(gone, ", ") + ", '" + stream.OpDelete + "' AS " + stream.OpColumn + " FROM " + f.old.name + " o"
		if f.new.rows > 0 {
			sql += " ANTI JOIN " + f.new.name + " n ON " + sameNames(plan, "o", "n")
		}
		parts = append(parts, sql)
	}
	if parts == nil {
		return b, nil
	}
	t, err := f.conn.Select(ctx, strings.Join(parts, "\nUNION ALL "))
	if err != nil {
		return b, fmt.Errorf("fold a result: %w", err)
	}
	fields := t.Schema.Fields()
	b.Records, b.Schema = t.Records, arrow.NewSchema(fields[:len(fields)-1], nil)
	return b, nil
}

// Close gives the connection back.
func (f *Fold) Close() error { return f.conn.Close() }

func columnNames(cols []stream.Column) string {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = duck.QuoteIdent(c.Name)
	}
	return strings.Join(names, ", ")
}

// sameNames is the condition that two rows of a result have one name.
func sameNames(p *planner.Plan, l, r string) string {
	parts := []string{"true"}
	for _, k := range p.Keys {
		n := duck.QuoteIdent(p.Schema[k].Name)
		parts = append(parts, l+"."+n+" IS NOT DISTINCT FROM "+r+"."+n)
	}
	return strings.Join(parts, " AND ")
}
