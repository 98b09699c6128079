package difftest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/engine"
)

// Kind is what a Step does.
type Kind string

// The kinds of steps, named as in a case file.
const (
	Add     Kind = "add"     // rows of one source, in one piece
	Run     Kind = "run"     // until nothing is left to do
	Restart Kind = "restart" // a clean stop, unless a crash has left nothing to stop, and a start
	Crash   Kind = "crash"   // the next Run dies at Point
	Wait    Kind = "clock"   // the clock moves past the checkpoint interval
)

// Step is one thing that happens to a query. The query is finished, with the watermark at infinity, after
// the last.
type Step struct {
	Kind   Kind
	Source string  // of Add
	Rows   [][]any // of Add: one value per column that is neither computed nor metadata
	Point  string  // of Crash: one of Points
}

// Script is a query and all that happens to it.
type Script struct {
	Name  string
	Note  string // free text, for people
	SQL   string // declares exactly one query, whose sources and first sink are of the connector memory
	Steps []Step
	Late  *int64 // how many rows a case is to expect to be late; nil: it does not ask
}

// Points returns where a Crash can strike, in the order of a batch.
func Points() []string {
	return []string{engine.BeforeIntent, engine.AfterIntent, engine.AfterExecute, engine.MidSink,
		engine.AfterSink, engine.AfterCommit, engine.AfterState}
}

// Without returns the script without some of its crash steps, counted from 0, such as those that struck nothing: a case
// may not have them.
func (s Script) Without(crashes []int) Script {
	var steps []Step
	n := -1
	for _, step := range s.Steps {
		if step.Kind == Crash {
			if n++; slices.Contains(crashes, n) {
				continue
			}
		}
		steps = append(steps, step)
	}
	s.Steps = steps
	return s
}

// YAML writes the script as a case for tidemill test that expects the sink to hold want in the end.
func (s Script) YAML(want [][]any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\n", quoted(s.Name))
	if s.Note != "" {
		fmt.Fprintf(&b, "note: %s\n", quoted(s.Note))
	}
	fmt.Fprintf(&b, "sql: |\n  %s\nsteps:\n", strings.ReplaceAll(strings.TrimSpace(s.SQL), "\n", "\n  "))
	for _, step := range s.Steps {
		switch step.Kind {
		case Add:
			fmt.Fprintf(&b, "  - add: {%s: %s}\n", step.Source, yamlRows(step.Rows))
		case Run:
			b.WriteString("  - run: idle\n")
		case Restart:
			b.WriteString("  - restart: {}\n")
		case Crash:
			fmt.Fprintf(&b, "  - crash: %s\n", step.Point)
		case Wait:
			fmt.Fprintf(&b, "  - clock: '+%s'\n", pause)
		}
	}
	b.WriteString("  - run: finish\n")
	if s.Late != nil {
		fmt.Fprintf(&b, "  - state: {dropped: %d}\n", *s.Late)
	}
	fmt.Fprintf(&b, "  - expect: {table: %s}\n", yamlRows(want))
	return b.String()
}

func yamlRows(rows [][]any) string {
	if len(rows) == 0 {
		return "[]"
	}
	var b strings.Builder
	b.WriteString("[")
	for i, row := range rows {
		if i > 0 {
			b.WriteString(",")
		}
		cells := make([]string, len(row))
		for j, v := range row {
			cells[j] = yamlValue(v)
		}
		b.WriteString("\n      [" + strings.Join(cells, ", ") + "]")
	}
	return b.String() + "]"
}

// yamlValue writes a value so that reading it gives the same value, to the last bit.
func yamlValue(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case bool, int, int32, int64, uint64:
		return fmt.Sprint(x)
	case float64:
		return yamlFloat(x)
	case json.Number: // a DECIMAL: as text, it is exact
		return quoted(x.String())
	case json.RawMessage:
		return string(x)
	case string:
		return quoted(x)
	case []byte: // a text that a BLOB is cast from
		var b strings.Builder
		for _, c := range x {
			fmt.Fprintf(&b, `\x%02X`, c)
		}
		return quoted(b.String())
	}
	data, err := json.Marshal(v)
	if err != nil {
		return quoted(fmt.Sprint(v))
	}
	return string(data)
}

func yamlFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return ".nan"
	case math.IsInf(f, 1):
		return ".inf"
	case math.IsInf(f, -1):
		return "-.inf"
	}
	text := strconv.FormatFloat(f, 'g', -1, 64)
	if mantissa, exponent, ok := strings.Cut(text, "e"); ok {
		if !strings.Contains(mantissa, ".") {
			mantissa += ".0"
		}
		return mantissa + "e" + exponent
	}
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// quoted is a string in double quotes, which JSON and YAML read alike.
func quoted(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSpace(b.String())
}
