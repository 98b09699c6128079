package sqlfront_test

import (
	"context"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

const canary = "CANARY-7d1f"

// testRegistry has connectors with an option of every type.
func testRegistry() stream.Registry {
	source := stream.Spec{Name: "jetstream", Fields: []stream.Field{
		{Name: "url", Type: stream.String, Default: "nats://127.0.0.1:4222", Summary: "Where the server is."},
		{Name: "stream", Type: stream.String, Required: true, Summary: "The stream's name."},
		{Name: "subject", Type: stream.List, Summary: "Filter subjects."},
		{Name: "token", Type: stream.Secret, Summary: "The token to log in with."},
		{Name: "password", Type: stream.Secret, Summary: "The password to log in with."},
		{Name: "wait", Type: stream.Duration, Min: 1e6, Max: 3600e9, Default: "5 seconds", Summary: "How long to wait."},
		{Name: "fetch_bytes", Type: stream.Bytes, Min: 1 << 10, Max: 32 << 20, Default: "16 MiB", Summary: "Bytes in flight."},
		{Name: "ordered", Type: stream.Bool, Default: "true", Summary: "Whether order is kept."},
		{Name: "replicas", Type: stream.Int, Min: 1, Max: 5, Summary: "How many."},
	}}
	all := []stream.Mode{stream.Append, stream.Update, stream.Complete}
	return stream.Registry{
		Sources: map[string]stream.SourceConnector{
			"jetstream": {Spec: source},
			"memory":    {Spec: stream.Spec{Name: "memory"}, Typed: true},
		},
		Sinks: map[string]stream.SinkConnector{
			"memory": {Spec: stream.Spec{Name: "memory"}, Modes: all, Slots: true},
			"parquet": {Spec: stream.Spec{Name: "parquet", Fields: []stream.Field{
				{Name: "path", Type: stream.String, Required: true, Summary: "The folder that is written to."},
				{Name: "partition_by", Type: stream.List, Summary: "Columns that become folders."},
				{Name: "codec", Type: stream.Enum, Values: []string{"zstd", "snappy", "none"}, Default: "zstd", Summary: "How it is compressed."},
			}}, Modes: []stream.Mode{stream.Append, stream.Complete}, Slots: true,
				Place: func(_ string, o stream.Options) string { return "the folder " + o.String("path") }},
		},
	}
}

func testEnv(typer sqlfront.Typer) sqlfront.Env {
	vars := map[string]string{"NATS_TOKEN": canary, "STREAM": "ORDERS", "EMPTY": "", "ROWS": "many"}
	return sqlfront.Env{
		Getenv: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		ReadFile: func(path string) ([]byte, error) {
			switch path {
			case "/run/pw":
				return []byte(canary + "\n"), nil
			case "/run/empty":
				return []byte("\n"), nil
			}
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		},
		Registry: testRegistry(),
		Typer:    typer,
	}
}

func openTyper(t *testing.T) *duck.Conn {
	t.Helper()
	return ducktest.Conn(t, duck.Options{Sealed: true, Threads: 1})
}

func parse(ctx context.Context, env sqlfront.Env, text string) (*sqlfront.Script, error) {
	return sqlfront.Parse(ctx, &diag.Text{Name: "app.sql", Body: text}, env)
}

func TestGolden(t *testing.T) {
	conn := openTyper(t)
	for _, dir := range []string{"testdata/parse", "testdata/errors"} {
		datadriven.Walk(t, dir, func(t *testing.T, path string) {
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				if d.Cmd == "split" {
					return splitText(d.Input)
				}
				script, err := parse(t.Context(), testEnv(conn), d.Input)
				switch d.Cmd {
				case "error":
					require.Error(t, err, d.Pos)
					return diag.Render(err) + "\n"
				case "parse":
					require.NoError(t, err, d.Pos)
					return scriptText(script)
				}
				t.Fatalf("%s: unknown directive %q", d.Pos, d.Cmd)
				return ""
			})
		})
	}
	requireNothingLeft(t, conn)
}

// requireNothingLeft checks that Parse has dropped what it made for checking.
func requireNothingLeft(t *testing.T, conn *duck.Conn) {
	t.Helper()
	rows, err := conn.Rows(t.Context(), "SELECT table_name FROM duckdb_tables() UNION ALL SELECT function_name FROM duckdb_functions() "+
		"WHERE database_name = 'temp' AND NOT internal")
	require.NoError(t, err)
	require.Empty(t, rows)
}

func splitText(text string) string {
	var b strings.Builder
	for _, s := range sqlfront.Split(text) {
		fmt.Fprintf(&b, "%d-%d %q\n", s.Start, s.End, text[s.Start:s.End])
	}
	return b.String()
}

// scriptText prints all that Parse found out.
func scriptText(s *sqlfront.Script) string {
	var b strings.Builder
	for _, d := range s.App.Sources {
		fmt.Fprintf(&b, "source %s connector=%s typed=%t %s\n", d.Name, d.Connector, d.Typed, optionsText(d.Options))
		for _, c := range d.Columns {
			fmt.Fprintf(&b, "  %q %s [%s]", c.Name, c.Type, c.Arrow)
			if c.Metadata {
				b.WriteString(" metadata")
			}
			if c.Expr != "" {
				fmt.Fprintf(&b, " as %q at %d", c.Expr, c.At)
			}
			b.WriteString("\n")
		}
		if w := d.Watermark; w != nil {
			fmt.Fprintf(&b, "  watermark %s - %s\n", w.Column, w.Delay)
		}
	}
	for _, d := range s.App.Tables {
		fmt.Fprintf(&b, "table %s refresh=%s at %d %q", d.Name, d.Refresh, d.At, d.Body)
		for _, c := range d.Columns {
			fmt.Fprintf(&b, " %s:%s", c.Name, c.Type)
		}
		b.WriteString("\n")
	}
	for _, d := range s.App.Views {
		fmt.Fprintf(&b, "view %s at %d %q\n", d.Name, d.At, d.Body)
	}
	for _, d := range s.App.Macros {
		fmt.Fprintf(&b, "macro %s at %d %q\n", d.Name, d.At, d.Text)
	}
	for _, d := range s.App.Sinks {
		fmt.Fprintf(&b, "sink %s connector=%s modes=%v slots=%t %s\n", d.Name, d.Connector, d.Modes, d.Slots, optionsText(d.Options))
	}
	for _, q := range s.App.Queries {
		fmt.Fprintf(&b, "query %s into %v trigger=%s missed=%q mode=%s %s\n", q.Name, q.Sinks, q.Trigger, q.Trigger.Missed, q.Mode, optionsText(q.Options))
		fmt.Fprintf(&b, "  body at %d %q\n", q.At, q.Body)
	}
	b.WriteString("statements")
	for _, st := range s.Statements {
		fmt.Fprintf(&b, " [%s%d %s %q", map[bool]string{true: "batch "}[st.Batch], st.Kind, st.Object, st.Name)
		if st.Body != (diag.Span{}) {
			fmt.Fprintf(&b, " %d-%d", st.Body.Start, st.Body.End)
		}
		b.WriteString("]")
	}
	return b.String() + "\n"
}

func optionsText(o stream.Options) string {
	shown := sqlfront.OptionText(o)
	pairs := make([]string, 0, len(shown))
	for k, v := range shown {
		pairs = append(pairs, k+"="+v)
	}
	sort.Strings(pairs)
	return "{" + strings.Join(pairs, " ") + "}"
}

func TestSpansPointIntoText(t *testing.T) {
	text := "CREATE SINK out WITH (connector = 'memory');\n" +
		"CREATE SOURCE src (a INT, b INT AS ( a + 1 )) WITH (connector = 'memory');\n" +
		"CREATE QUERY q INTO out AS\n SELECT a FROM src -- done\n;"
	s, err := parse(t.Context(), testEnv(openTyper(t)), text)
	require.NoError(t, err)
	q := s.App.Queries[0]
	require.Equal(t, "SELECT a FROM src", text[q.At:q.At+len(q.Body)])
	require.Equal(t, "SELECT a FROM src", q.Body)
	require.Equal(t, "out", text[q.SinkSpan[0].Start:q.SinkSpan[0].End])
	require.Equal(t, "q", text[q.Span.Start:q.Span.End])
	require.True(t, strings.HasPrefix(q.Text, "CREATE QUERY q"))
	col := s.App.Sources[0].Columns[1]
	require.Equal(t, "a + 1", text[col.At:col.At+len(col.Expr)])
	require.Equal(t, trigger.AsAvailable, q.Trigger.Kind)
}

func TestSecretsNeverShow(t *testing.T) {
	conn := openTyper(t)
	env := testEnv(conn)
	good := "CREATE SOURCE src (a INT) WITH (connector = 'jetstream', stream = 'S', token = 'env:NATS_TOKEN', password = 'file:/run/pw')"
	s, err := parse(t.Context(), env, good)
	require.NoError(t, err)
	src := s.App.Sources[0]
	require.Equal(t, canary, src.Options.String("token"))
	require.Equal(t, canary, src.Options.String("password"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		require.NotContains(t, fmt.Sprintf(verb, src.Options), canary, verb)
		require.NotContains(t, fmt.Sprintf(verb, *src), canary, verb)
	}
	require.NotContains(t, optionsText(src.Options), canary)
	require.NotContains(t, s.App.Text.Body, canary)

	bad := []string{
		"token = '" + canary + "'",
		"token = '" + canary + "${EMPTY:-x}', nosuch = 1",
		"token = '" + canary + "${NOSUCH}'",
		"token = 'env:${NATS_TOKEN}'",
		"token = '${NATS_TOKEN}'",
		"wait = '${NATS_TOKEN}'",
		"fetch_bytes = '${NATS_TOKEN}', replicas = '${NATS_TOKEN}', ordered = '${NATS_TOKEN}'",
		"url = 'nats://me:" + canary + "@host', nosuch = 1",
		"token = 'file:/nowhere', password = 'file:${NATS_TOKEN}'",
	}
	for _, with := range bad {
		_, err := parse(t.Context(), env, "CREATE SOURCE src (a INT) WITH (connector = 'jetstream', stream = 'S', "+with+")")
		require.Error(t, err, with)
		require.NotContains(t, diag.Render(err), canary, with)
		require.NotContains(t, fmt.Sprintf("%+v", err), canary, with)
	}
	_, err = parse(t.Context(), env, "CREATE SOURCE src (a INT) WITH (connector = '${NATS_TOKEN}')")
	require.Error(t, err)
	require.NotContains(t, diag.Render(err), canary)
}

func TestKeepSecretsChecksFormOnly(t *testing.T) {
	env := testEnv(openTyper(t))
	env.KeepSecrets = true
	s, err := parse(t.Context(), env, "CREATE SOURCE src (a INT) WITH (connector = 'jetstream', stream = 'S', token = 'env:NOWHERE')")
	require.NoError(t, err)
	require.Empty(t, s.App.Sources[0].Options.String("token"))
	require.Equal(t, "env:NOWHERE", sqlfront.OptionText(s.App.Sources[0].Options)["token"])
}

func TestBaseIsKnownAndUnchanged(t *testing.T) {
	env := testEnv(openTyper(t))
	first, err := parse(t.Context(), env, "CREATE SINK out WITH (connector = 'memory'); CREATE MACRO twice(x) AS x * 2")
	require.NoError(t, err)
	env.Base = first.App
	second, err := parse(t.Context(), env, "CREATE SOURCE src (a INT, b INT AS (twice(a))) WITH (connector = 'memory');"+
		"CREATE QUERY q INTO OUT AS FROM src; DESCRIBE out")
	require.NoError(t, err)
	require.Equal(t, []string{"out"}, second.App.Queries[0].Sinks)
	require.Len(t, second.App.Sinks, 1)
	require.Empty(t, first.App.Queries)

	env.Base = second.App
	third, err := parse(t.Context(), env, "DROP QUERY Q; SHOW QUERIES")
	require.NoError(t, err)
	require.Empty(t, third.App.Queries)
	require.Len(t, second.App.Queries, 1)
	_, err = parse(t.Context(), env, "CREATE SOURCE Src (a INT) WITH (connector = 'memory')")
	require.Equal(t, diag.DuplicateName, diag.CodeOf(err))
}

func TestCancelledContextEndsParse(t *testing.T) {
	env := testEnv(openTyper(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := parse(ctx, env, "CREATE SOURCE src (a INT) WITH (connector = 'memory')")
	require.ErrorIs(t, err, context.Canceled)
}

func TestHostileTextsAreRefused(t *testing.T) {
	env := testEnv(openTyper(t))
	for name, text := range map[string]string{
		"nul":        "SELECT 1\x00",
		"utf8":       "SELECT '\xff'",
		"huge":       strings.Repeat("SELECT 1;", 1<<19),
		"type":       "CREATE SOURCE s (a INT) AS t; SELECT (1) FROM x",
		"type from":  "CREATE SOURCE s (a INT FROM secrets) WITH (connector = 'memory')",
		"expr":       "CREATE SOURCE s (a INT, b INT AS (1), c INT AS ((SELECT 1))) WITH (connector = 'memory')",
		"comment":    "CREATE SOURCE s (a INT, b INT AS (a -- )\n), c INT AS (a /* */ + )) WITH (connector = 'memory')",
		"variables":  strings.Repeat("${", 100_000),
		"dollars":    "SELECT " + strings.Repeat("$a", 600_000),
		"columns":    "CREATE SOURCE s (" + strings.Repeat("c INT,", 50_000),
		"names":      "CREATE SOURCE s (" + strings.Repeat("order INT,", 30_000),
		"sinks":      "CREATE QUERY q INTO " + strings.Repeat("c, ", 50_000),
		"options":    "CREATE SINK s WITH (" + strings.Repeat("c = 1,", 50_000),
		"statements": strings.Repeat("x;", 100_000),
		"empties":    "CREATE SINK s WITH (connector = 'memory');" + strings.Repeat("SHOW SINKS;", 20_000),
		"opens":      strings.Repeat("/*", 100_000),
		"strings":    strings.Repeat("'a'\n--\n", 40_000),
		"brackets":   "CREATE SOURCE s (" + strings.Repeat("(", 100_000),
		"deep":       "SELECT " + strings.Repeat("1+(", 5000) + "1" + strings.Repeat(")", 5000),
		"wide":       "CREATE SOURCE s (a INT, b BOOL AS (" + strings.Repeat("a > 1 AND ", 10_000) + "true)) WITH (connector = 'memory')",
		"long":       "SELECT '" + strings.Repeat("x", 1<<20) + "'",
		"type long":  "CREATE SOURCE s (a " + strings.Repeat("STRUCT(a ", 1000) + "INT" + strings.Repeat(")", 1000) + ") WITH (connector = 'memory')",
		"macro":      "CREATE MACRO m(a) AS '" + strings.Repeat("x", 1<<17) + "'",
	} {
		_, err := parse(t.Context(), env, text)
		require.NotNil(t, diag.All(err), "%s: %v", name, err)
		_ = diag.Render(err)
	}
}

func TestFaultsPerStatementAreLimited(t *testing.T) {
	cols := strings.Repeat("a, ", 50) + "b INT"
	_, err := parse(t.Context(), testEnv(openTyper(t)), "CREATE SOURCE s ("+cols+") WITH (connector = 'memory'); SHOW SORCES")
	list := diag.All(err)
	require.Len(t, list, 11)
	require.True(t, sort.SliceIsSorted(list, func(i, j int) bool { return list[i].Span.Start < list[j].Span.Start }))
}

func TestQuerySpecDefaults(t *testing.T) {
	s, err := parse(t.Context(), testEnv(openTyper(t)), "CREATE SINK o WITH (connector='memory'); CREATE QUERY q INTO o AS SELECT 1")
	require.NoError(t, err)
	o := s.App.Queries[0].Options
	require.Equal(t, "min", o.String("watermark_policy"))
	require.Equal(t, 10*time.Second, o.Duration("checkpoint_interval"))
	require.EqualValues(t, 10, o.Int("retries"))
	require.EqualValues(t, 64<<20, o.Int("checkpoint_bytes"))
	require.False(t, o.Has("idle_timeout"))
	require.IsType(t, &planner.App{}, s.App)
}
