package main

import (
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
	out, err io.Writer
	form     string
	now      func() time.Time

	mu    sync.Mutex // guards what follows: queries report from their own goroutines
	order []string
	lines map[string]*progressLine
	drawn int       // lines of the table on the screen
	last  time.Time // when it was drawn
}

type progressLine struct {
	state string
	last  engine.Progress
}

func (e *env) newProgress(form string, app *planner.App) (*progress, error) {
	form, err := e.progressForm(form)
	if err != nil {
		return nil, err
	}
	p := &progress{out: e.stdout, err: e.stderr, form: form, now: e.clock.Now, lines: map[string]*progressLine{}}
	for _, q := range app.Queries {
		p.order = append(p.order, q.Name)
	}
	if form == "tty" {
		fmt.Fprintf(p.out, "ok  %d sources · %d tables · %d sinks · %d queries\n", len(app.Sources), len(app.Tables),
			len(app.Sinks), len(app.Queries))
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
		fmt.Fprintf(p.out, "    metrics http://%s/metrics\n", addr)
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
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%s\n", data)
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

func (p *progress) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.form == "tty" {
		p.draw()
	}
}

// draw writes the table over the one before. The caller holds mu.
func (p *progress) draw() {
	l := listing{columns: []string{"query", "state", "batch", "rows_in", "rows/s", "behind", "watermark", "late", "dead", "out", "ms"},
		right: map[string]bool{"batch": true, "rows_in": true, "rows/s": true, "behind": true, "late": true, "dead": true, "out": true, "ms": true}}
	for _, name := range p.order {
		line := p.lines[name]
		if line == nil {
			continue
		}
		b := line.last
		l.add(name, line.state, b.BatchID, count(b.Totals.In), count(int64(b.ProcessedPerSec)), behind(b), watermark(b),
			count(b.Totals.Late), count(b.Totals.Dead), count(b.Totals.Out), fmt.Sprintf("%.1f", b.BatchDuration))
	}
	table := l.table()
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.drawn)
	}
	fmt.Fprint(p.out, table)
	p.drawn, p.last = strings.Count(table, "\n"), p.now()
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
