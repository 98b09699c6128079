package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/stream"
)

// ScanOptions say what Scan reads.
type ScanOptions struct {
	Latest bool  // begin where the source ends now, not where a new query would begin
	Follow bool  // go on waiting for what is new
	Rows   int64 // messages or rows of one piece at most; 0 for the source's own bound
}

// Piece is a part of a source, decoded.
type Piece struct {
	Records []arrow.Record   // the columns that are not computed, in declared order
	Faults  []letters.Letter // payloads, or rows of them, that do not decode, with their bytes
}

// scanPause is how long a source that can not wait is left alone between two looks.
const scanPause = 100 * time.Millisecond

// Scan reads a source of app without a query, and hands it to use piece by piece until use returns false, the source
// has no more (unless Follow), or ctx is done. Pieces are borrowed. Nothing is acknowledged and no position is kept;
// opt.DataDir is scratch space that the caller removes.
func Scan(
	ctx context.Context, opt Options, app *planner.App, source string, so ScanOptions, use func(Piece) (bool,
		error),
) error {
	opt = opt.withDefaults()
	def, err := findSource(app, source)
	if err != nil {
		return err
	}
	in, err := openInput(ctx, opt, app, lenient(def), home{dir: opt.DataDir})
	if err != nil {
		return err
	}
	err = in.scan(ctx, opt, so, use)
	if cerr := in.close(); err == nil {
		err = cerr
	}
	return err
}

// lenient returns the definition with faults shown instead of stopping.
func lenient(def *planner.Source) *planner.Source {
	d := *def
	d.Options = make(stream.Options, len(def.Options))
	for name, v := range def.Options {
		d.Options[name] = v
	}
	if !d.Typed {
		d.Options["on_error"] = "dead_letter"
	}
	return &d
}

func findSource(app *planner.App, name string) (*planner.Source, error) {
	names := make([]string, len(app.Sources))
	for i, s := range app.Sources {
		if s.Name == name {
			return s, nil
		}
		names[i] = s.Name
	}
	e := diag.New(diag.UnknownName, "source %q is not defined in %s", name, app.Text.Name)
	if near := diag.Near(name, names); near != "" {
		e = e.WithHint("did you mean %q?", near)
	}
	return nil, e
}

func (in *input) scan(ctx context.Context, opt Options, so ScanOptions, use func(Piece) (bool, error)) error {
	from, identity, err := in.src.Start(ctx)
	if err != nil {
		return fmt.Errorf("start source %q: %w", in.def.Name, err)
	}
	end, err := in.src.Available(ctx, from, identity, stream.Limit{})
	if err != nil {
		return fmt.Errorf("ask source %q: %w", in.def.Name, err)
	}
	if so.Latest {
		from = end.To
	}
	limit := historyLimit("")
	if so.Rows > 0 {
		limit.Rows = so.Rows
	}
	if !so.Follow {
		limit.Until = end.To
	}
	identity = end.Identity
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if from == limit.Until {
			return nil
		}
		avail, err := in.src.Available(ctx, from, identity, limit)
		if err != nil {
			return fmt.Errorf("ask source %q: %w", in.def.Name, err)
		}
		if avail.To == from {
			if !so.Follow {
				return nil
			}
			if err := in.await(ctx, opt, from); err != nil {
				return err
			}
			continue
		}
		more, err := in.piece(ctx, stream.Range{From: from, To: avail.To, Identity: avail.Identity}, use)
		if err != nil || !more {
			return err
		}
		from, identity = avail.To, avail.Identity
	}
}

func (in *input) await(ctx context.Context, opt Options, from stream.Offset) error {
	if w, ok := in.src.(stream.Waiter); ok {
		return w.Wait(ctx, from) //nolint:wrapcheck // the context's error, or one that names the source
	}
	return opt.Clock.Sleep(ctx, scanPause) //nolint:wrapcheck // the context's error
}

// piece reads and decodes one range and lends it to use.
func (in *input) piece(ctx context.Context, rng stream.Range, use func(Piece) (bool, error)) (bool, error) {
	r, err := in.readNow(ctx, rng)
	if err != nil {
		return false, err
	}
	defer r.release()
	p := Piece{Records: r.records}
	for _, f := range r.faults {
		l := letters.Letter{Source: in.def.Name, Index: int64(f.Index), Ordinal: -1, Kind: letters.Dead,
			Reason: f.Reason}
		p.Faults = append(p.Faults, f.letter(l))
	}
	return use(p)
}

// LoadTables runs the body of every reference table of app in order, each of which may read the ones before it, and
// lends its rows to use. memory bounds DuckDB, in bytes.
func LoadTables(ctx context.Context, memory int64, app *planner.App, use func(*planner.Table,
	*duck.Table) error) error {
	return eachTable(ctx, memory, app, use)
}
