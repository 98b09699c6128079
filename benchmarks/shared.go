package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/benchmarks/chart"
	"github.com/tidemill/tidemill/internal/diag"
)

// Plain is plain DuckDB, which says what results are, for those who compare others with it. One goroutine uses it.
type Plain struct{ p *plain }

// OpenPlain opens a database in memory that spills into dir. It knows the window macros. The caller closes it.
func OpenPlain(ctx context.Context, dir string) (*Plain, error) {
	p, err := openPlain(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &Plain{p}, nil
}

// Close ends the database.
func (p *Plain) Close() error { return p.p.close() }

// Exec runs statements.
func (p *Plain) Exec(ctx context.Context, sql string) error {
	if _, err := p.p.conn.Exec(ctx, sql); err != nil {
		return fmt.Errorf("plain DuckDB: %w", err)
	}
	return nil
}

// Counts runs a SELECT of one row of BIGINTs.
func (p *Plain) Counts(ctx context.Context, sql string) ([]int64, error) { return p.p.counts(ctx, sql) }

// Columns returns the names and types of a SELECT's columns.
func (p *Plain) Columns(ctx context.Context, sql string) ([][2]string, error) {
	rows, err := p.p.conn.Rows(ctx, "SELECT column_name, column_type FROM (DESCRIBE "+sql+")")
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	out := make([][2]string, len(rows))
	for i, r := range rows {
		out[i] = [2]string{fmt.Sprint(r[0]), fmt.Sprint(r[1])}
	}
	return out, nil
}

// Compare asks that two SELECTs give the same rows, each as often, but for the last bits of DOUBLEs, and returns how
// many. Differs tells its refusal from a fault.
func (p *Plain) Compare(ctx context.Context, got, want string) (int64, error) {
	if err := p.Exec(ctx, "CREATE OR REPLACE TEMP TABLE got AS "+got); err != nil {
		return 0, err
	}
	return p.p.compare(ctx, want)
}

// Differs says whether err is that two results are not the same.
func Differs(err error) bool {
	var d *differs
	return errors.As(err, &d)
}

// ErrEnded says that a process ended before what was awaited of it.
var ErrEnded = errors.New("it ended too early") //nolint:gochecknoglobals // a sentinel

// Await waits until done says so, which it asks every so often and once more when ended is closed. It returns ErrEnded
// if that did not help, and why ctx is done if it is.
func Await(ctx context.Context, every time.Duration, ended <-chan struct{}, done func() bool) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ended:
			if done() {
				return nil
			}
			return ErrEnded
		case <-tick.C:
		}
	}
	return nil
}

// Known refuses names that are not among those that are known. what says what they name.
func Known(what string, names, known []string) error {
	for _, name := range names {
		if slices.Contains(known, name) {
			continue
		}
		err := diag.New(diag.Usage, "there is no %s %q; choose of %s", what, name, strings.Join(known, ", "))
		if near := diag.Near(name, known); near != "" {
			return err.WithHint("did you mean %q?", near)
		}
		return err
	}
	return nil
}

// Save writes a report as <name>.json and <name>.md, and its plots as <name>-<plot>.svg, into a folder, which it makes.
func Save(dir, name string, report interface{ Markdown() string }, plots []chart.Chart) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // results are for everybody
		return fmt.Errorf("make the folder of results: %w", err)
	}
	data, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	files := map[string][]byte{".json": append(data, '\n'), ".md": []byte(report.Markdown())}
	for _, p := range plots {
		if files["-"+p.Name+".svg"], err = p.SVG(); err != nil {
			return err //nolint:wrapcheck // says which
		}
	}
	for ending, body := range files {
		if err := os.WriteFile(filepath.Join(dir, name+ending), body, 0o644); err != nil { //nolint:gosec // as above
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// Pictures are the links of a Markdown report to its plots, as Save names them.
func Pictures(name string, plots []chart.Chart) string {
	text := ""
	for _, p := range plots {
		text += fmt.Sprintf("![%s](%s-%s.svg)\n\n", p.Title, name, p.Name)
	}
	return text
}

// ThisMachine describes the machine, with its load as it is now.
func ThisMachine() Machine { return machine() }

// Done notes the load at the end of a run.
func (m *Machine) Done() { m.After = loadAverage() }

// Quantile returns the q-quantile of values by the nearest rank, or 0. It sorts values.
func Quantile(values []float64, q float64) float64 { return quantile(values, q) }
