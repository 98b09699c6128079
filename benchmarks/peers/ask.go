package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemill/tidemill/benchmarks"
)

// ask puts one workload to every contender: first each may try sizes of batches, then they take turns.
func (r *run) ask(ctx context.Context, w *workload) error {
	if err := r.plain.Exec(ctx, w.views()); err != nil {
		return fmt.Errorf("show the input to plain DuckDB: %w", err)
	}
	var entries []*Entry
	sides := map[*Entry]contender{}
	for _, c := range r.list {
		if !c.takes(w) {
			continue
		}
		e := &Entry{Query: w.name, Contender: c.name(), Guarantee: c.guarantee(w), Rows: w.rows}
		if c.batches() {
			if err := r.tune(ctx, w, c, e); err != nil {
				return err
			}
		}
		entries, sides[e] = append(entries, e), c
	}
	for n := range r.Runs {
		for _, e := range entries {
			if !e.figures() {
				continue
			}
			f, err := r.once(ctx, w, sides[e], e)
			if err != nil {
				return err
			}
			if f != nil {
				e.Runs = append(e.Runs, *f)
			}
			r.say("%sround %d: %s: %s", r.of(w), n+1, e.Contender, e.verdict())
		}
	}
	for _, e := range entries {
		e.settle()
		r.report.Entries = append(r.report.Entries, *e)
	}
	return nil
}

// of names a workload of a suite that has several.
func (r *run) of(w *workload) string {
	if w.name == r.report.Suite {
		return ""
	}
	return w.name + ": "
}

// tune finds how many files a batch of the contender should take. The runs it needs are not in the figures.
func (r *run) tune(ctx context.Context, w *workload, c contender, e *Entry) error {
	if w.follow || w.cold {
		return nil // a batch takes what is there
	}
	if fixed := cmp.Or(r.BatchFiles, w.files); fixed > 0 {
		e.BatchFiles = fixed
		return nil
	}
	best, files := 0.0, 0
	for _, size := range sizes(r.Files) {
		e.BatchFiles = size
		f, err := r.once(ctx, w, c, e)
		if err != nil || f == nil {
			return err
		}
		r.say("%s%s with batches of %d of the files: %.2f s", r.of(w), c.name(), size, f.Seconds)
		if files == 0 || f.Seconds < best {
			best, files = f.Seconds, size
		}
	}
	e.BatchFiles = files
	return nil
}

// sizes are the numbers of files of a batch to try: at most a quarter of all, so that it remains a stream.
func sizes(files int) []int {
	var out []int
	for n := max(1, files/4); n > 0 && len(out) < 3; n /= 2 {
		out = append(out, n)
	}
	return out
}

// once runs a contender over the workload. Where it has no figure, e says why and f is nil.
func (r *run) once(ctx context.Context, w *workload, c contender, e *Entry) (f *Figures, err error) {
	scratch, err := os.MkdirTemp(r.Dir, c.name()+"-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }() // large, and nobody needs it any more
	j := job{Suite: w.suite, Query: w.name, Tables: folders(w.tables), Static: folders(w.static),
		Out: filepath.Join(scratch, "out"), Checkpoint: filepath.Join(scratch, "checkpoint"), Scratch: scratch,
		Files: e.BatchFiles, Follow: w.follow, Update: w.update}
	if !w.cold {
		j.Warm = w.warm
	}
	slow := fmt.Errorf("it did not end within %s", r.Limit)
	limited, cancel := context.WithTimeoutCause(ctx, r.Limit, slow)
	defer cancel()
	f, err = r.watch(limited, w, c, j, e)
	if err != nil && limited.Err() != nil && !errors.Is(err, slow) {
		err = errors.Join(slow, err) // it was killed while it ended
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		e.Failed = err.Error()
		return nil, nil
	case f == nil:
		return nil, nil
	}
	e.Result, err = r.verify(ctx, w, c, j)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case benchmarks.Differs(err):
		e.Differs = err.Error()
		return nil, nil
	case err != nil:
		e.Failed = err.Error()
		return nil, nil
	}
	return f, nil
}
