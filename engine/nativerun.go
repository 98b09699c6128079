package engine

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// view is the source, or what limit leaves of it.
func (n *native) view(limit string) string {
	shown := "* EXCLUDE (" + planner.PosColumn + ")"
	if n.q.plan.Straight {
		shown = "*"
	}
	return fmt.Sprintf("CREATE OR REPLACE TEMP VIEW %s AS SELECT %s FROM (SELECT %s FROM (SELECT *, file_row_number AS %s "+
		"FROM read_parquet(%s, file_row_number = true, hive_partitioning = false)%s))", duck.QuoteIdent(n.src.Name), shown,
		n.in.Select, planner.PosColumn, n.files, limit)
}

// body is what gives the rows over the view. A plan that leaves them in order has a WHERE that does so too, and drops positions, which
// DuckDB then does not read.
func (n *native) body() string {
	if n.q.plan.Straight {
		return n.q.plan.Result
	}
	return n.q.def.Body
}

const (
	sampleRows = 10 * 2048 // that are looked at to guess how many come through
	fewOf      = 8         // one of so many are few
)

// few guesses, of the first rows, whether a body without operators leaves few of them.
func (n *native) few(ctx context.Context) (bool, error) {
	if _, err := n.conn.Exec(ctx, n.view(fmt.Sprint(" LIMIT ", sampleRows))); err != nil {
		return false, err
	}
	rows, err := n.conn.Rows(ctx, "SELECT count(*) FROM (\n"+n.body()+"\n)")
	if err != nil {
		return false, err
	}
	_, err = n.conn.Exec(ctx, n.view(""))
	return integer(rows[0][0]) < min(n.rows, sampleRows)/fewOf, err
}

// rowsOf runs the body, whose rows are read as DuckDB makes them. But where few come through they become a table first:
// DuckDB would hold those that a vector of the files has left in memory for a whole vector, in their order, until they are
// read. A table of many would cost more than that.
func (n *native) rowsOf(ctx context.Context, schema *arrow.Schema) (*duck.Table, error) {
	few := false
	if len(n.q.plan.Ops) == 0 {
		var err error
		if few, err = n.few(ctx); err != nil {
			return nil, err
		}
	}
	if !few {
		cols := make([]duck.Column, len(n.q.plan.Schema))
		for i, c := range n.q.plan.Schema {
			cols[i] = duck.Column{Name: c.Name, Type: c.Type}
		}
		return n.conn.Query(ctx, nil, n.body(), cols)
	}
	t, err := n.conn.Select(ctx, n.body())
	if err == nil && !t.Schema.Equal(schema) {
		t.Release()
		return nil, errNotNative
	}
	return t, err
}

// run gives the rows, and what is known of those that were read.
func (n *native) run(ctx context.Context) (*BatchResult, error) {
	p := n.q.plan
	schema, err := planSchema(p)
	if err != nil {
		return nil, err
	}
	t, err := n.rowsOf(ctx, schema)
	if err != nil {
		return nil, err
	}
	counts := &exec.Counts{In: n.rows, NullTime: n.nulls, MaxTime: n.most}
	res := &BatchResult{Result: stream.Batch{Schema: schema, Records: t.Records},
		Sources: map[string]*exec.Counts{n.src.Name: counts}, ByDuckDB: true}
	if len(p.Ops) == 0 && !p.Counted {
		res.ByDuckDB = false
		counts.Used = res.Result.NumRows()
		counts.Filtered = counts.In - counts.Used - counts.NullTime
	}
	return res, nil
}
