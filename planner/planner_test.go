package planner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

func columns(t *testing.T, defs ...string) []planner.Column {
	t.Helper()
	out := make([]planner.Column, len(defs))
	for i, d := range defs {
		name, typ, _ := strings.Cut(d, " ")
		typ, expr, _ := strings.Cut(typ, " AS ")
		at, err := duck.ArrowType(typ)
		require.NoError(t, err)
		out[i] = planner.Column{Column: stream.Column{Name: name, Type: typ, Arrow: at}, Expr: expr}
	}
	return out
}

func plain(cols []planner.Column) []stream.Column {
	out := make([]stream.Column, len(cols))
	for i, c := range cols {
		out[i] = c.Column
	}
	return out
}

// testApp declares orders (watermark on ts), clicks (none), users (reference), and what views and macros are
// given.
func testApp(t *testing.T, body string, views []*planner.View, macros []*planner.Macro) *planner.App {
	t.Helper()
	return &planner.App{
		Text: &diag.Text{Name: "q.sql", Body: body},
		Sources: []*planner.Source{
			{Name: "orders", Columns: columns(t, "id BIGINT", "user_id VARCHAR", "amount DOUBLE",
				"price DECIMAL(10,2)", "ts TIMESTAMP",
				"tags VARCHAR[]", "day DATE AS ts::DATE"),
				Watermark: &planner.Watermark{Column: "ts", Delay: 10 * time.Second}},
			{Name: "clicks", Columns: columns(t, "user_id VARCHAR", "ts TIMESTAMP", "value INTEGER")},
		},
		Tables: []*planner.Table{{Name: "users",
			Columns: plain(columns(t, "user_id VARCHAR", "country VARCHAR"))}},
		Views: views, Macros: macros,
	}
}

// TestGolden plans each body. Commands: plan, error, layout and reasons (why it is not comparable), with
// mode=append|update|complete and horizon=DURATION; view NAME and macro
// NAME
// declare for the rest of the file.
func TestGolden(t *testing.T) {
	db := ducktest.Open(t, duck.Options{Sealed: true, Threads: 1})
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var views []*planner.View
		var macros []*planner.Macro
		prefix := ""
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "view":
				views = append(views, &planner.View{Name: d.CmdArgs[0].Key, Body: d.Input, At: len(prefix)})
				prefix += d.Input + "\n"
				return "ok\n"
			case "macro":
				macros = append(macros, &planner.Macro{Name: d.CmdArgs[0].Key, Text: d.Input,
					At: len(prefix)})
				prefix += d.Input + "\n"
				return "ok\n"
			}
			conn, err := db.Conn(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, conn.Close()) }()
			mode := "append"
			if d.HasArg("mode") {
				d.ScanArgs(t, "mode", &mode)
			}
			text := prefix + d.Input
			q := &planner.Query{Name: "q", Body: d.Input, At: len(prefix), Span: diag.Span{Start: len(prefix),
				End: len(prefix) + 1},
				Mode: map[string]stream.Mode{"append": stream.Append, "update": stream.Update,
					"complete": stream.Complete}[mode]}
			q.ModeSpan = q.Span
			if d.HasArg("horizon") {
				text := ""
				d.ScanArgs(t, "horizon", &text)
				horizon, err := time.ParseDuration(text)
				require.NoError(t, err)
				q.Options = stream.Options{"dedup_horizon": horizon}
			}
			p, err := planner.Build(t.Context(), testApp(t, text, views, macros), q, conn)
			if err != nil {
				require.NotEmpty(t, diag.CodeOf(err), "%v", err)
				return diag.Render(err) + "\n"
			}
			switch d.Cmd {
			case "layout":
				return strings.Join(p.Layout(), "\n") + "\n"
			case "reasons":
				return strings.Join(p.NotComparable(), "\n") + "\n"
			}
			require.Equal(t, "plan", d.Cmd, "planned although an error was expected:\n%s", d.Input)
			return p.Explain()
		})
	})
}

func TestHashChangesWithThePlan(t *testing.T) {
	conn := ducktest.Conn(t, duck.Options{Sealed: true, Threads: 1})
	hash := func(body string) string {
		p, err := planner.Build(t.Context(), testApp(t, body, nil, nil), &planner.Query{Name: "q",
			Body: body}, conn)
		require.NoError(t, err)
		return p.Hash()
	}
	require.Equal(t, hash("SELECT id FROM orders"), hash("SELECT  id  FROM orders -- same"))
	require.NotEqual(t, hash("SELECT id FROM orders"), hash("SELECT id + 1 AS id FROM orders"))
}
