// Package console is the sink "console": each batch as a table on a writer, for people to look at.
//
// It is at-least-once: what has been printed can not be taken back, and there is no place for a marker. A
// batch that runs again after a crash is printed again, under the same batch number.
package console

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

const (
	rowsDefault  = 20
	widthDefault = 100
)

// Connector returns the connector "console" that prints to w. Each batch is one call of Write, and calls
// never overlap, so that queries which share w do not mix their lines.
func Connector(w io.Writer) stream.SinkConnector {
	out := &printer{w: w}
	return stream.SinkConnector{
		Spec: stream.Spec{
			Name: "console", Summary: "A table of each batch on standard output.",
			Guarantee: "At least once: a batch that runs again after a crash is printed again, with the same number.",
			Fields: []stream.Field{
				{Name: "max_rows", Type: stream.Int, Default: "20", Min: 0, Max: 1_000_000, Summary: "Most rows that are printed of one batch; the rest is counted."},
				{Name: "width", Type: stream.Int, Default: "100", Min: 20, Max: 10_000, Summary: "Most columns of the terminal that a table takes; wide values are cut."},
			},
			Example: "CREATE SINK screen WITH (connector = 'console', max_rows = 10);",
		},
		Modes: []stream.Mode{stream.Append, stream.Update, stream.Complete},
		Open: func(_ context.Context, cfg stream.SinkConfig) (stream.Sink, error) {
			s := &sink{out: out, name: cfg.Name, rows: rowsDefault, width: widthDefault}
			if cfg.Options.Has("max_rows") {
				s.rows = int(cfg.Options.Int("max_rows"))
			}
			if cfg.Options.Has("width") {
				s.width = int(cfg.Options.Int("width"))
			}
			return s, nil
		},
	}
}

// printer lets one batch at a time through.
type printer struct {
	mu sync.Mutex // guards w
	w  io.Writer
}

func (p *printer) print(text string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := io.WriteString(p.w, text)
	return err //nolint:wrapcheck // Write says what was printed
}

// sink prints one query's results.
type sink struct {
	out   *printer
	name  string
	rows  int
	width int
}

// Open implements stream.Sink. There is no marker to check.
func (s *sink) Open(context.Context, stream.Owner) error { return nil }

// Write implements stream.Sink, but that a batch delivered twice is printed twice.
func (s *sink) Write(ctx context.Context, d stream.Delivery) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := s.out.print(s.render(d)); err != nil {
		return diag.Wrap(diag.SinkFailed, err, "sink %q: print batch %d", s.name, d.Marker.Batch)
	}
	return nil
}

func (s *sink) render(d stream.Delivery) string {
	var b strings.Builder
	n := d.Result.NumRows()
	fmt.Fprintf(&b, "%s · batch %d · %s · %s\n", s.name, d.Marker.Batch, d.Mode, counted(n, "row"))
	t := tableOf(d.Result, s.rows)
	if len(t.cells) > 0 {
		t.render(&b, s.width)
	}
	if more := n - int64(len(t.cells)); more > 0 {
		fmt.Fprintf(&b, "… %s more; max_rows = %d\n", counted(more, "row"), s.rows)
	}
	return b.String()
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Close implements stream.Sink. The writer stays open.
func (s *sink) Close() error { return nil }
