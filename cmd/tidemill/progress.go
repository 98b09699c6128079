package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

// progress shows what queries do: a live table on a terminal, one JSON object per batch otherwise.
type progress struct {
	screen *screen // shared with the console sinks
	err    io.Writer
	form   string
	now    func() time.Time

	mu    sync.Mutex // guards what follows: queries report from their own goroutines
	order []string
	lines map[string]*progressLine
	last  time.Time // when the table was drawn
}

type progressLine struct {
	state    string
	evolving string // how far a changed text is, "" when none is under way
	last     engine.Progress
}

func (e *env) newProgress(form string, app *planner.App) (*progress, error) {
	form, err := e.progressForm(form)
	if err != nil {
		return nil, err
	}
	p := &progress{screen: e.screen(), err: e.stderr, form: form, now: e.clock.Now, lines: map[string]*progressLine{}}
	for _, q := range app.Queries {
		p.order = append(p.order, q.Name)
	}
	if form == "tty" {
		fmt.Fprintf(p.screen, "ok  %s\n", summary(app))
	}
	return p, nil
}

// progressForm resolves --progress.
func (e *env) progressForm(form string) (string, error) {
	switch form {
	case "auto":
		if e.tty {
			return "tty", nil
		}
		return "jsonl", nil
	case "tty", "jsonl", "off":
		return form, nil
	}
	return "", diag.New(diag.Usage, "progress %q is not auto, tty, jsonl or off", form)
}

func (p *progress) serving(addr string) {
	if p.form == "tty" {
		fmt.Fprintf(p.screen, "    metrics http://%s/metrics\n", addr)
	}
}

func (p *progress) listener() engine.Listener {
	if p.form == "off" {
		return engine.Listener{}
	}
	return engine.Listener{
		QueryStarted: func(s engine.Started) { p.set(s.Query, "running", nil, true) },
		BatchDone: func(b engine.Progress) {
			if p.form == "jsonl" {
				p.json(b)
				return
			}
			p.set(b.Name, "running", &b, false)
		},
		BatchRetried: func(r engine.Retried) { p.set(r.Query, "retrying", nil, true) },
		Evolving: func(e engine.Evolving) {
			p.evolving(e.Query, fmt.Sprintf("rebuilding %d%%", 100*e.Rows/max(1, e.Of)))
		},
		Evolved: func(e engine.Evolved) { p.evolving(e.Query, "") },
		QueryStopped: func(s engine.Stopped) {
			state := "stopped"
			if s.Err != nil {
				state = "failed"
			}
			p.set(s.Query, state, nil, true)
		},
	}
}

func (p *progress) json(b engine.Progress) {
	data, err := json.Marshal(b)
	if err != nil {
		return // every field of Progress can be marshalled
	}
	fmt.Fprintf(p.screen, "%s\n", data)
}

// set notes what a query does and redraws the table, at most ten times a second unless the state changed.
func (p *progress) set(query, state string, b *engine.Progress, redraw bool) {
	if p.form != "tty" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	line := p.lines[query]
	if line == nil {
		line = &progressLine{}
		p.lines[query] = line
	}
	line.state = state
	if b != nil {
		line.last = *b
	}
	if redraw || p.now().Sub(p.last) >= 100*time.Millisecond {
		p.draw()
	}
}

// evolving shows how far the state of a changed text is.
func (p *progress) evolving(query, how string) {
	p.mu.Lock()
	if line := p.lines[query]; line != nil {
		line.evolving = how
	}
	p.mu.Unlock()
	p.set(query, "running", nil, true)
}

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.form == "tty" {
		p.draw()
	}
	p.screen.leave()
}

// Write puts lines of the log above the table.
func (p *progress) Write(line []byte) (int, error) { return p.screen.above(p.err, line) }

// draw writes the table over the one before. The caller holds mu.
func (p *progress) draw() {
	l := listing{columns: []string{"query", "state", "batch", "rows_in", "rows/s", "behind", "watermark",
		"late", "dead", "out", "ms"},
		right: set("batch", "rows_in", "rows/s", "behind", "late", "dead", "out", "ms")}
	for _, name := range p.order {
		line := p.lines[name]
		if line == nil {
			continue
		}
		b := line.last
		l.add(name, cmp.Or(line.evolving, line.state), b.BatchID, count(b.Totals.In), count(int64(b.ProcessedPerSec)), behind(b),
			watermark(b),
			count(b.Totals.Late), count(b.Totals.Dead), count(b.Totals.Out), fmt.Sprintf("%.1f",
				b.BatchDuration))
	}
	p.screen.draw(strings.Split(strings.TrimSuffix(l.table(), "\n"), "\n"))
	p.last = p.now()
}

// summary counts what an application declares.
func summary(app *planner.App) string {
	return strings.Join([]string{plural(int64(len(app.Sources)), "source"), plural(int64(len(app.Tables)),
		"table"),
		plural(int64(len(app.Sinks)), "sink"), queriesText(len(app.Queries))}, " · ")
}

func queriesText(n int) string {
	if n == 1 {
		return "1 query"
	}
	return count(int64(n)) + " queries"
}

func behind(b engine.Progress) string {
	var sum int64
	for _, s := range b.Sources {
		if s.Behind < 0 {
			return "?"
		}
		sum += s.Behind
	}
	return count(sum)
}

func watermark(b engine.Progress) string {
	if b.EventTime.Next == nil {
		return "-"
	}
	return b.EventTime.Next.Format("15:04:05")
}

// count writes a number with thousands separated.
func count(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
