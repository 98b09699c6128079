package exec

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

// Load makes the tables of a state version on a connection of db, for people who look at them. The rows are laid over
// one another as a restart of the query does it, and every checksum is compared. No plan is needed. The caller closes
// the connection.
func Load(ctx context.Context, db *duck.DB, v state.Version) (*duck.Conn, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to DuckDB: %w", err)
	}
	op := &planner.Operator{}
	for _, t := range v.Tables() {
		table, err := tableOf(t)
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		op.Tables = append(op.Tables, table)
	}
	s := &Session{plan: &planner.Plan{Ops: []*planner.Operator{op}}, conn: conn, batch: true}
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("make the state tables: %w", err), conn.Close())
	}
	if err := v.Load(ctx, nil, func(c state.Change) error { return s.Restore(ctx, c) }); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// tableOf reads the definition that a state version has of a table.
func tableOf(t state.Table) (planner.StateTable, error) {
	out := planner.StateTable{Name: t.Name, Keys: t.Keys}
	for _, def := range t.Columns {
		name, typ, ok := splitDefinition(def)
		if !ok {
			return out, diag.New(diag.CheckpointUnusable, "state table %s has a column %q, whose type is not known",
				t.Name, def).WithHint("look with the version of Tidemill that wrote it")
		}
		out.Columns = append(out.Columns, planner.Column{Column: stream.Column{Name: name, Type: typ}})
	}
	return out, nil
}

// splitDefinition takes "name TYPE" apart. Either may have spaces: the longest rest that is a type is it.
func splitDefinition(def string) (name, typ string, ok bool) {
	for i := range len(def) {
		if def[i] != ' ' {
			continue
		}
		if _, err := duck.ArrowType(def[i+1:]); err == nil && i > 0 {
			return def[:i], def[i+1:], true
		}
	}
	return strings.TrimSpace(def), "", false
}
