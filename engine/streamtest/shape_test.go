package streamtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine/streamtest"
)

const caseHead = `name: x
sql: |
  CREATE SOURCE src (value INTEGER, ts TIMESTAMP) WITH (connector = 'memory');
  CREATE SINK out WITH (connector = 'memory');
  CREATE QUERY q INTO out AS SELECT value FROM src;
steps:
`

// TestWhatIsNoCase: what says nothing, or something else than was meant, is refused when a file is read.
func TestWhatIsNoCase(t *testing.T) {
	for text, want := range map[string]string{
		"name: x\nsteps:\n  - run: idle\n":                   "a case needs name, sql and steps",
		"sqll: x\n" + caseHead + "  - run: idle\n":           `unknown key "sqll"`,
		"only_batch: maybe\n" + caseHead + "  - run: idle\n": `"only_batch" must be true or false`,
		caseHead:                      `"steps" must be a list`,
		caseHead + "  - runn: idle\n": `unknown step "runn"; expected one of add run expect`,
		caseHead + "  - run: idle\n    batches: 0\n":         `"batches" stands beside "run"; a step has one of them`,
		caseHead + "  - add: [1, 2]\n":                       "add: expected a map",
		caseHead + "  - state: 5\n":                          "state: expected a map, not 5",
		caseHead + "  - state: {row: 1}\n":                   `state: unknown key "row"; expected rows, updated, removed, dropped`,
		caseHead + "  - expect: {news: []}\n":                `expect: unknown key "news"`,
		caseHead + "  - expect: {new: [], ordered: 'yes'}\n": "ordered must be true or false",
		caseHead + "  - expect: {new: []}\n    sink: 5\n":    "sink must be a name",
		caseHead + "  - restart: now\n":                      "restart: expected {} or {sql: …}, not now",
		caseHead + "  - restart: {sqll: x}\n":                `restart: unknown key "sqll"`,
		caseHead + "  - clear_sink: false\n":                 "clear_sink: expected true, not false",
		caseHead + "  - fails: {containz: [x]}\n":            `fails: unknown key "containz"`,
		caseHead + "  - fails: {code: 5}\n":                  "fails: code must be text",
	} {
		_, err := streamtest.Parse("x_test.yaml", []byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

// TestCasesFail: a case that expects what does not happen fails, and says at which step.
func TestCasesFail(t *testing.T) {
	opt := streamtest.Options{Parse: parseWith(t), NoReplay: true}
	for steps, want := range map[string]string{
		"  - run: forever\n":                         "forever is neither idle, batch nor finish",
		"  - add: {srcc: [[1, null]]}\n":             `source "srcc" is not declared`,
		"  - add: {src: [[1]]}\n":                    "1 values for 2 columns",
		"  - add: {src: [{valu: 1}]}\n":              "names a column that is not declared",
		"  - add: {src: [[x, null]]}\n":              "x is not a number",
		"  - run: idle\n  - expect: {}\n":            "exactly one of new, all, last and table",
		"  - expect: {new: [], sink: nosuch}\n":      `sink "nosuch" is not declared`,
		"  - watermark: 5\n":                         "not known yet, expected 5",
		"  - watermark: soon\n":                      "soon is neither seconds nor a timestamp",
		"  - state: {rows: 1}\n":                     "rows is 0, expected 1",
		"  - batches: 3\n":                           "0 batches have been committed, expected 3",
		"  - crash: whenever\n":                      `unknown point "whenever"`,
		"  - crash: after_sink\n  - run: idle\n":     "the run did not come to after_sink",
		"  - clock: '-10s'\n":                        "-10s is not a duration",
		"  - fails: {}\n":                            "expected a failure, but nothing failed",
		"  - run: x\n  - fails: {contains: zzz}\n":   `does not contain "zzz"`,
		"  - run: x\n  - fails: {code: NO_STREAM}\n": "failed with no code, expected NO_STREAM",
		"  - add: {src: [[1, null], [1, null]]}\n  - run: idle\n  - expect: {new: [[1]]}\n":                     "extra   [1]",
		"  - add: {src: [[1, null]]}\n  - run: idle\n  - expect: {new: [[2]]}\n":                                "missing [2]",
		"  - add: {src: [[1, null], [2, null]]}\n  - run: idle\n  - expect: {new: [[2], [1]], ordered: true}\n": "in order",
		"  - add: {src: [[1, null]]}\n  - run: idle\n  - expect: {new: [[1, 2]]}\n":                             "row [1 2] has 2 values",
	} {
		cases, err := streamtest.Parse("x_test.yaml", []byte(caseHead+steps))
		require.NoError(t, err, steps)
		res := streamtest.Run(t.Context(), cases[0], opt)
		require.False(t, res.OK, steps)
		require.Contains(t, res.Message, want, steps)
		require.NotZero(t, res.Line, steps)
	}
}
