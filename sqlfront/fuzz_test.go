package sqlfront_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/sqlfront"
)

// fakeTyper stands for DuckDB where only our own parser is under test. It refuses texts that say bad.
type fakeTyper struct{}

func (fakeTyper) Describe(_ context.Context, sql string) ([]duck.Column, error) {
	if at := strings.Index(sql, "bad"); at >= 0 {
		return nil, &duck.Error{Kind: duck.Binder, Message: `Referenced column "bad" not found in FROM clause!`, Position: at}
	}
	typ := "BIGINT"
	for _, t := range []string{"TIMESTAMP", "VARCHAR", "DATE"} {
		if strings.Contains(strings.ToUpper(sql), t) {
			typ = t
			break
		}
	}
	return []duck.Column{{Name: "t", Type: typ}}, nil
}

func (fakeTyper) Parse(_ context.Context, sql string) ([]byte, error) {
	if strings.Contains(sql, "bad") {
		return nil, &duck.Error{Kind: duck.Syntax, Message: "syntax error", Position: len(sql) + 3}
	}
	return []byte(`{"statements":[{"node":{"select_list":[{"class":"FUNCTION","function_name":"f","query_location":18446744073709551615}],` +
		`"from_table":{"type":"EMPTY","query_location":18446744073709551615}}}]}`), nil
}

func (fakeTyper) Exec(_ context.Context, sql string, _ ...any) (int64, error) {
	if strings.Contains(sql, "bad") && !strings.HasPrefix(sql, "DROP") {
		return 0, &duck.Error{Kind: duck.Catalog, Message: "bad", Position: 0}
	}
	return 0, nil
}

func seeds(f *testing.F) {
	f.Helper()
	for _, s := range []string{
		"CREATE SOURCE s (a INT, ts TIMESTAMP AS (a::TIMESTAMP), subject VARCHAR METADATA, WATERMARK FOR ts AS ts - INTERVAL '1 minute') WITH (connector = 'memory')",
		"CREATE SINK o WITH (connector = 'parquet', path = '${STREAM:-x}'); CREATE QUERY q INTO o TRIGGER CRON '* * * * *' TIME ZONE 'UTC' OUTPUT MODE APPEND WITH (late = 'drop') AS SELECT 1",
		"CREATE TABLE t REFRESH EVERY '1 hour' AS FROM x; CREATE VIEW v AS SELECT 1; CREATE MACRO m(a) AS TABLE SELECT a; DROP VIEW v; SHOW SINKS; DESCRIBE t; EXPLAIN BATCH q",
		"SELECT E'\\'' 'b' $$;$$ $t$ $$ $t$ \"a\"\"b\" /* /* ; */ */ -- ;\n;x",
		"'a'\n'b' E'\\x41\\u0042\\\n'\n'\\'' ${A} ${ $1 $a 1.5e-3 \u00a0\u3000é;",
		"CREATE SOURCE s (a (((, b INT) WITH (token = 'x', url = 'nats://a:b@c', wait = '1 bad')", "bad", "'", "/*", "$$", "\x00\xff",
	} {
		f.Add(s)
	}
}

func FuzzSplit(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		end := 0
		var rebuilt strings.Builder
		for _, s := range sqlfront.Split(text) {
			require.LessOrEqual(t, end, s.Start)
			require.Less(t, s.Start, s.End)
			require.LessOrEqual(t, s.End, len(text))
			rebuilt.WriteString(text[end:s.Start])
			rebuilt.WriteString(text[s.Start:s.End])
			end = s.End
			again := sqlfront.Split(text[s.Start:s.End])
			require.Equal(t, []diag.Span{{End: s.End - s.Start}}, again, "a statement is one statement")
		}
		rebuilt.WriteString(text[end:])
		require.Equal(t, text, rebuilt.String())
	})
}

func FuzzParse(f *testing.F) {
	seeds(f)
	env := testEnv(fakeTyper{})
	f.Fuzz(func(t *testing.T, body string) {
		text := &diag.Text{Name: "fuzz.sql", Body: body}
		script, err := sqlfront.Parse(t.Context(), text, env)
		require.Equal(t, body, text.Body)
		if err == nil {
			require.True(t, utf8.ValidString(body))
			for _, q := range script.App.Queries {
				require.Equal(t, q.Body, body[q.At:q.At+len(q.Body)])
			}
			return
		}
		var list diag.List
		require.ErrorAs(t, err, &list)
		require.NotContains(t, diag.Render(err), canary)
		for _, e := range list {
			require.NotEmpty(t, e.Message)
			if e.Source != nil {
				require.LessOrEqual(t, 0, e.Span.Start)
				require.LessOrEqual(t, e.Span.Start, e.Span.End)
				require.LessOrEqual(t, e.Span.End, len(body)+1)
			}
		}
	})
}

// FuzzSplitAgreesWithDuckDB checks that what we take for one statement is at most one to DuckDB: otherwise a
// second statement could hide inside the first.
func FuzzSplitAgreesWithDuckDB(f *testing.F) {
	seeds(f)
	conn := ducktest.Conn(f, duck.Options{Sealed: true, Threads: 1})
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 10_000 || strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			t.Skip()
		}
		for _, s := range sqlfront.Split(text) {
			_, err := conn.Parse(t.Context(), text[s.Start:s.End])
			var fault *duck.Error
			if errors.As(err, &fault) {
				require.NotContains(t, fault.Message, "statements, expected exactly one")
			}
		}
	})
}
