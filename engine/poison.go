package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// rowFault reports that err is the fault of single rows: a conversion, an overflow, invalid input. Memory, I/O,
// interrupts and DuckDB's own faults never exclude a row.
func rowFault(err error) bool {
	var e *duck.Error
	return errors.As(err, &e) && e.RowFault()
}

// place is one row of a batch.
type place struct {
	source  string
	ordinal int64
}

// executePoisoned finds the rows that make the plan fail, logs them, and runs the batch without them. The rows become
// dead letters with DuckDB's reason.
func (q *Query) executePoisoned(ctx context.Context, w *work, cause error) (*exec.Output, error) {
	x, err := q.findPoison(ctx, w, cause)
	if err != nil {
		return nil, err
	}
	if err := q.ckpt.Exclude(x); err != nil {
		return nil, fmt.Errorf("log the excluded rows of batch %d: %w", w.intent.Batch, err)
	}
	return q.runWithout(ctx, w, x, cause)
}

// findPoison finds the rows of a batch that make the plan fail by halving the batch.
func (q *Query) findPoison(ctx context.Context, w *work, cause error) (checkpoint.Exclude, error) {
	x := checkpoint.Exclude{Batch: w.intent.Batch, Rows: map[string][]checkpoint.Exclusion{}}
	bad, err := q.bisect(ctx, w, q.places(w))
	if err != nil {
		return x, err
	}
	if len(bad) == 0 { // only together do the rows fail, such as a sum that overflows
		return x, diag.Wrap(diag.RowFault, cause, "query %q fails on the rows up to batch %d together, not on any one",
			q.def.Name, w.intent.Batch).WithHint("guard the expression, for example with TRY_CAST or a wider type")
	}
	for name, rows := range w.excluded {
		x.Rows[name] = append(x.Rows[name], rows...)
	}
	for _, p := range bad {
		x.Rows[p.source] = append(x.Rows[p.source], checkpoint.Exclusion{Ordinal: p.ordinal, Reason: shortReason(p.reason)})
	}
	return x, nil
}

func (q *Query) runWithout(ctx context.Context, w *work, x checkpoint.Exclude, cause error) (*exec.Output, error) {
	n := 0
	for _, rows := range x.Rows {
		n += len(rows)
	}
	w.excluded = x.Rows
	q.log.Warn("poison rows excluded", "batch", w.intent.Batch, "rows", n, "err", shortReason(cause.Error()))
	out, err := q.session.Run(ctx, q.call(w))
	if err != nil {
		return nil, fmt.Errorf("run without %d poison rows: %w", n, err)
	}
	return out, nil
}

func (q *Query) places(w *work) []place {
	var all []place
	for _, in := range q.inputs {
		r := w.data[in.def.Name]
		if r == nil {
			continue
		}
		gone := map[int64]bool{}
		for _, x := range w.excluded[in.def.Name] {
			gone[x.Ordinal] = true
		}
		var n int64
		for _, rec := range r.records {
			n += rec.NumRows()
		}
		for i := range n {
			if !gone[i] {
				all = append(all, place{in.def.Name, i})
			}
		}
	}
	return all
}

// badPlace is a row that fails by itself, and why.
type badPlace struct {
	place
	reason string
}

// bisect returns the rows among rows that fail by themselves, in order. Each probe runs the plan on a subset and
// takes the state back.
func (q *Query) bisect(ctx context.Context, w *work, rows []place) ([]badPlace, error) {
	if reason, err := q.probe(ctx, w, nil); err != nil || reason != "" {
		return nil, err // the batch fails without any of its rows, so none of them is to blame
	}
	var bad []badPlace
	stack := [][]place{rows}
	for len(stack) > 0 {
		part := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		reason, err := q.probe(ctx, w, part)
		if err != nil {
			return nil, err
		}
		switch {
		case reason == "":
		case len(part) == 1:
			bad = append(bad, badPlace{part[0], reason})
			if len(bad) > excludedMax {
				return nil, diag.New(diag.RowFault, "more than %d rows of batch %d make query %q fail; the first: %s",
					excludedMax, w.intent.Batch, q.def.Name, bad[0].reason).
					WithHint("that is not a few poison rows but a query that does not fit its data: mend the query")
			}
		default:
			half := len(part) / 2
			stack = append(stack, part[half:], part[:half])
		}
	}
	return bad, nil
}

// probe returns why the plan fails on exactly these rows, or "".
func (q *Query) probe(ctx context.Context, w *work, part []place) (string, error) {
	keep := map[string][]int64{}
	for _, p := range part {
		keep[p.source] = append(keep[p.source], p.ordinal)
	}
	err := q.session.Try(ctx, q.call(w), keep)
	if err == nil {
		return "", nil
	}
	var e *duck.Error
	if rowFault(err) && errors.As(err, &e) {
		return e.Message, nil
	}
	return "", fmt.Errorf("look for poison rows in batch %d: %w", w.intent.Batch, err)
}
