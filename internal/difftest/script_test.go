package difftest_test

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/engine/streamtest"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/difftest"
)

const sumSQL = `
CREATE SOURCE a (id BIGINT, f DOUBLE, s VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'memory');
CREATE SINK out WITH (connector = 'memory');
CREATE QUERY q INTO out OUTPUT MODE %MODE% WITH (late = 'dead_letter') AS
  SELECT window_start, sum(f) AS sf, list(s) AS l FROM tumble(a, ts, INTERVAL '10 seconds') GROUP BY ALL;`

func sumScript(mode string) difftest.Script {
	const minute = "2026-01-01 00:00:"
	return difftest.Script{Name: "sum", SQL: strings.Replace(sumSQL, "%MODE%", mode, 1), Steps: []difftest.Step{
		{Kind: difftest.Add, Source: "a", Rows: [][]any{{1, 0.1, "x", minute + "01"}, {2, 1e15, "it's: \"ü\"", minute + "02.5"}}},
		{Kind: difftest.Crash, Point: engine.MidSink}, {Kind: difftest.Run}, {Kind: difftest.Restart},
		{Kind: difftest.Wait}, {Kind: difftest.Run},
		{Kind: difftest.Add, Source: "a", Rows: [][]any{{3, -1e15, nil, minute + "03"}, {4, nil, "", minute + "31"}}},
		{Kind: difftest.Run}, {Kind: difftest.Restart},
		{Kind: difftest.Add, Source: "a", Rows: [][]any{{5, 0.5, "late", minute + "04"}}},
		{Kind: difftest.Run},
	}}
}

func TestPlayTellsWhatBecameOfEveryRow(t *testing.T) {
	l := newLab(t, nil, nil)
	out, err := difftest.Play(t.Context(), sumScript("APPEND"), difftest.Options{Parse: l.parse, Dir: l.dir})
	require.NoError(t, err)
	require.Equal(t, 1, out.Crashes)
	require.Equal(t, 2, out.Starts)
	require.EqualValues(t, 5, out.In())
	require.EqualValues(t, 1, out.Late())
	require.True(t, out.Rows["a"][4].Late)
	require.Equal(t, []string{"window_start", "sf", "l"}, out.Columns)
	// (0.1 + 1e15) - 1e15, in this order, is not 0.1.
	want := [][]any{{"2026-01-01T00:00:00.000000", 0.125, json.RawMessage(`["x","it's: \"ü\"",null]`)},
		{"2026-01-01T00:00:30.000000", nil, json.RawMessage(`[""]`)}}
	require.Empty(t, difftest.Diff(out.Table, want, nil))
	batch, err := out.Answer(t.Context(), difftest.Options{Dir: l.dir}, nil)
	require.NoError(t, err)
	require.Empty(t, difftest.Diff(batch, want, nil))
	batch, err = out.Answer(t.Context(), difftest.Options{Dir: l.dir}, func(string, difftest.Row) bool { return true })
	require.NoError(t, err)
	require.Contains(t, difftest.Diff(out.Table, batch, nil), `- missing ["2026-01-01T00:00:00.000000", 0.625,`)
}

func TestCaseSaysWhatTheScriptSaid(t *testing.T) {
	l := newLab(t, nil, nil)
	for _, mode := range []string{"APPEND", "UPDATE", "COMPLETE"} {
		script := sumScript(mode)
		out, err := difftest.Play(t.Context(), script, difftest.Options{Parse: l.parse, Dir: l.dir})
		require.NoError(t, err, mode)
		res := runCase(t, l, script.YAML(out.Table))
		require.True(t, res.OK, "%s: %s\n%s", mode, res.Message, script.YAML(out.Table))
		late := out.Late()
		script.Late = &late
		res = runCase(t, l, script.YAML(out.Table))
		require.True(t, res.OK, "%s: %s", mode, res.Message)
		late++
		res = runCase(t, l, script.YAML(out.Table))
		require.Contains(t, res.Message, "dropped is", mode)
		script.Late = nil
		res = runCase(t, l, script.YAML(append(out.Table, []any{"2026-01-01 00:01:00", 1.5, nil})))
		require.False(t, res.OK, mode)
		require.Contains(t, res.Message, "- missing ['2026-01-01 00:01:00', 1.5, null]", mode)
	}
}

func runCase(t *testing.T, l *lab, text string) streamtest.Result {
	t.Helper()
	cases, err := streamtest.Parse("case_test.yaml", []byte(text))
	require.NoError(t, err, text)
	return streamtest.Run(t.Context(), cases[0], streamtest.Options{Parse: l.parse, NoReplay: true})
}

func TestValuesSurviveTheCaseFile(t *testing.T) {
	l := newLab(t, nil, nil)
	negative := math.Copysign(0, -1)
	rows := [][]any{{int64(math.MinInt64), 5e-324, "no: 'x' \"y\"\n#z", "2026-01-01 00:00:01.000001"},
		{int64(1), negative, "null", nil}, {nil, math.MaxFloat64, "0x10", nil}, {int64(2), 1e22, "", nil}, {int64(3), 0.1, nil, nil}}
	script := difftest.Script{Name: "values: 'odd' ones", SQL: strings.NewReplacer("%MODE%", "APPEND",
		"SELECT window_start, sum(f) AS sf, list(s) AS l FROM tumble(a, ts, INTERVAL '10 seconds') GROUP BY ALL",
		"SELECT id, f, CAST(1 / f AS VARCHAR) AS sign, s, ts FROM a").Replace(sumSQL),
		Steps: []difftest.Step{{Kind: difftest.Add, Source: "a", Rows: rows}}}
	out, err := difftest.Play(t.Context(), script, difftest.Options{Parse: l.parse, Dir: l.dir})
	require.NoError(t, err)
	require.Len(t, out.Table, len(rows))
	res := runCase(t, l, script.YAML(out.Table))
	require.True(t, res.OK, "%s\n%s", res.Message, script.YAML(out.Table))
}

func TestPlaySaysWhyItCanNot(t *testing.T) {
	l := newLab(t, nil, nil)
	opt := difftest.Options{Parse: l.parse, Dir: l.dir}
	script := sumScript("APPEND")
	script.SQL = strings.Replace(script.SQL, "SELECT window_start, sum(f)", "SELECT id, sum(f)", 1)
	_, err := difftest.Play(t.Context(), script, opt)
	var refused *difftest.Refused
	require.ErrorAs(t, err, &refused)
	require.Equal(t, diag.AppendNeedsWatermark, diag.CodeOf(err))
	script.SQL = "CREATE SOURCE a (id BIGINT) WITH (connector = 'memory')"
	_, err = difftest.Play(t.Context(), script, opt)
	require.ErrorContains(t, err, "exactly one query")
	script = sumScript("APPEND")
	script.Steps = []difftest.Step{{Kind: difftest.Add, Source: "nobody"}}
	_, err = difftest.Play(t.Context(), script, opt)
	require.ErrorContains(t, err, `no source "nobody"`)
	require.NotErrorAs(t, err, &refused)
}

func TestDiffIsExactUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	tenth, fifth := 0.1, 0.2
	a, b := [][]any{{"x", tenth + fifth}, {"y", 1.0}, {"y", 1.0}}, [][]any{{"y", 1.0}, {"x", 0.3}, {"y", 1.0}}
	require.Equal(t, "  - missing [\"x\", 0.3]\n  + extra   [\"x\", 0.30000000000000004]\n", difftest.Diff(a, b, nil))
	require.Empty(t, difftest.Diff(a, b, map[int]bool{1: true}))
	require.NotEmpty(t, difftest.Diff(a, b[:2], map[int]bool{1: true}), "how often a row comes counts")
	require.NotEmpty(t, difftest.Diff([][]any{{math.Copysign(0, -1)}}, [][]any{{0.0}}, nil))
	require.NotEmpty(t, difftest.Diff([][]any{{nil}}, [][]any{{"NULL"}}, nil))
	require.NotEmpty(t, difftest.Diff([][]any{{1.0, "a"}}, [][]any{{1.0, "b"}}, map[int]bool{0: true}))
	many := make([][]any, 30)
	for i := range many {
		many[i] = []any{i}
	}
	require.Contains(t, difftest.Diff(many, nil, nil), "… and 10 more")
}
