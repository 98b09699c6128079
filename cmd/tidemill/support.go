package main

import (
	"context"
	_ "embed" // the list of shapes
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// supportShapes lists query shapes under headings, a line each: name | SQL.
//
//go:embed support.txt
var supportShapes string

const supportSources = `CREATE SOURCE orders (id BIGINT, user_id VARCHAR, amount DOUBLE, qty INTEGER, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds') WITH (connector = 'memory');
CREATE SOURCE clicks (user_id VARCHAR, page VARCHAR, at TIMESTAMP,
  WATERMARK FOR at AS at - INTERVAL '10 seconds') WITH (connector = 'memory');
CREATE SOURCE plain (id BIGINT, user_id VARCHAR, ts TIMESTAMP) WITH (connector = 'memory');
CREATE TABLE users AS SELECT 'u1' AS user_id, 'DE' AS country;
CREATE SINK out WITH (connector = 'memory');
`

// support is what became of one shape in one mode.
type support struct {
	plan  *planner.Plan
	fault *diag.Error
}

// supportDoc plans every shape of the list in every output mode and writes down what became of it.
func (e *env) supportDoc(ctx context.Context) (string, error) {
	var table strings.Builder
	refused := &refusals{shapes: map[string][]string{}}
	err := withDuck(ctx, func(conn *duck.Conn) error {
		for _, line := range strings.Split(strings.TrimSpace(supportShapes), "\n") {
			if heading, ok := strings.CutPrefix(line, "## "); ok {
				fmt.Fprintf(&table, "\n## %s\n\n| shape | append | update | complete | state, and what frees it |\n|---|---|---|---|---|\n", heading)
			}
			name, sql, ok := strings.Cut(line, " | ")
			if !ok {
				continue
			}
			cells, state := make([]string, 3), "none"
			for i, mode := range []string{"APPEND", "UPDATE", "COMPLETE"} {
				s, err := e.tryShape(ctx, conn, mode, sql)
				if err != nil {
					return fmt.Errorf("shape %q in output mode %s: %w", name, mode, err)
				}
				cells[i] = s.cell()
				if s.plan != nil && state == "none" {
					state = stateNote(s.plan)
				}
				if s.fault != nil {
					refused.add(name, mode, s.fault)
				}
			}
			if strings.Join(cells, "") != "" && !strings.Contains(strings.Join(cells, " "), "yes") {
				state = "–"
			}
			fmt.Fprintf(&table, "| %s<br>`%s` | %s | %s |\n", name, strings.ReplaceAll(sql, "|", "\\|"), strings.Join(cells, " | "), state)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return "# What runs on a stream\n\n" + generatedNote +
		"Every row is planned by the program itself. `orders` and `clicks` have a watermark on `ts` and `at`, `plain` has none, `users` is a\n" +
		"reference table. A code says that the shape is refused in that mode; the reasons and the ways out stand below. Batch runs\n" +
		"(`tidemill batch`) take every shape that one of the modes takes; `tidemill sql` takes all of DuckDB.\n" +
		table.String() + "\n## Why a shape is refused, and the way out\n\n| code | why | way out | shapes |\n|---|---|---|---|\n" +
		refused.String(), nil
}

// tryShape plans one query. A coded refusal is a result.
func (e *env) tryShape(ctx context.Context, conn *duck.Conn, mode, sql string) (support, error) {
	text := &diag.Text{Name: "shape.sql", Body: supportSources + "CREATE QUERY q INTO out OUTPUT MODE " + mode + " AS\n" + sql + ";\n"}
	app, err := e.parse(ctx, text, registry(e))
	if err == nil {
		var plan *planner.Plan
		if plan, err = planner.Build(ctx, app, app.Queries[0], conn); err == nil {
			return support{plan: plan}, nil
		}
	}
	if coded := diag.All(err); len(coded) > 0 {
		return support{fault: coded[0]}, nil
	}
	return support{}, err
}

func (s support) cell() string {
	if s.fault != nil {
		return "`" + string(s.fault.Code) + "`"
	}
	return "yes"
}

// stateNote says what a plan keeps, and what lets it go.
func stateNote(p *planner.Plan) string {
	var notes []string
	for _, op := range p.Ops {
		if len(op.Tables) == 0 {
			continue
		}
		var sizes []string
		for _, t := range op.Tables {
			sizes = append(sizes, fmt.Sprintf("%s %d", t.Name, t.RowBytes()))
		}
		note := fmt.Sprintf("%s: bytes a row: %s", strings.TrimRight(op.Name, " 0123456789"), strings.Join(sizes, ", "))
		if op.Timed {
			note += "; freed by the watermark"
		} else {
			note += "; never freed"
		}
		notes = append(notes, note)
	}
	if len(notes) == 0 {
		return "none"
	}
	return strings.Join(notes, "<br>")
}

// refusals are the reasons met, each once, with the shapes that meet them.
type refusals struct {
	order  []string
	shapes map[string][]string
}

func (r *refusals) add(shape, mode string, fault *diag.Error) {
	clean := strings.NewReplacer("|", "\\|", "\n", " ")
	row := fmt.Sprintf("| `%s` | %s | %s |", fault.Code, clean.Replace(fault.Message), clean.Replace(fault.Hint))
	if r.shapes[row] == nil {
		r.order = append(r.order, row)
	}
	where := shape + " (" + strings.ToLower(mode) + ")"
	r.shapes[row] = append(r.shapes[row], where)
}

func (r *refusals) String() string {
	var b strings.Builder
	for _, row := range r.order {
		fmt.Fprintf(&b, "%s %s |\n", row, strings.Join(r.shapes[row], ", "))
	}
	return b.String()
}
