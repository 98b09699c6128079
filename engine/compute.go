package engine

import (
	"context"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// compute is what of a batch nobody outside can see: steps 3 and 4.
func (q *Query) compute(ctx context.Context, w *work) error {
	if err := w.phase(q, "getBatch", func() error { return q.fetch(ctx, w) }); err != nil { // 3. exactly (from, to]
		return err
	}
	q.readAhead(ctx, w)
	w.executed = true
	if err := w.phase(q, "addBatch", func() error { return q.execute(ctx, w) }); err != nil { // 4. state moves with it
		return err
	}
	q.account(w)
	if !q.hasLetters(w) { // nothing of the result is in their memory, which the batch read ahead next can use
		w.releaseRows()
	}
	return nil
}

// fetch reads exactly the logged range of every source and decodes it once.
func (q *Query) fetch(ctx context.Context, w *work) error {
	for _, in := range q.inputs {
		rng, ok := w.intent.Sources[in.def.Name]
		if !ok {
			continue
		}
		if err := q.fetchSource(ctx, w, in, rng); err != nil {
			return err
		}
		err := q.sameAsBefore(w, in.def.Name, w.data[in.def.Name])
		if err != nil && in.unread != nil {
			err = q.fetchWhole(ctx, w, in, rng)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (q *Query) fetchSource(ctx context.Context, w *work, in *input, rng stream.Range) error {
	if w.intent.Slot != nil {
		r := &rows{}
		w.data[in.def.Name] = r
		return in.history(ctx, r, rng, func(step func() error) error { return q.retry(ctx, w.intent.Batch, step) })
	}
	return q.insist(ctx, w.early, w.intent.Batch, func() error {
		got, err := in.read(ctx, rng)
		if err == nil {
			w.data[in.def.Name] = got
		}
		return err
	})
}

// sameAsBefore refuses a replay that reads other rows than the committed run of the batch did.
func (q *Query) sameAsBefore(w *work, source string, r *rows) error {
	if w.replay == nil {
		return nil
	}
	was := w.replay.Sources[source]
	if was.Messages == r.count && was.CRC == r.crc {
		return nil
	}
	rng := w.intent.Sources[source]
	if r.lost > 0 { // on_data_loss = 'skip' said so
		q.ledger.inexact = true
		return nil
	}
	return diag.New(diag.DataLoss,
		"source %q gives other rows for batch %d (after %s up to %s) than when the batch was committed: %d messages, then %d",
		source, w.intent.Batch, rng.From, rng.To, was.Messages, r.count).
		WithHint("the source's history was changed; start the query anew under another name or data dir")
}

// readAhead starts on the next range of every source while this batch runs. A source that the batch has emptied is
// left alone: what it has by now would make the next batch a tiny one, and what comes meanwhile would wait for the
// batch after that.
func (q *Query) readAhead(ctx context.Context, w *work) {
	if w.replay != nil || w.intent.Slot != nil || q.schedule.ending() { // a slot reads all of history
		return
	}
	for _, in := range q.inputs {
		rng, ok := w.intent.Sources[in.def.Name]
		if !ok || in.ahead != nil || rng.From == rng.To || in.behind == 0 {
			continue
		}
		limit := q.pace.bound(in, in.limit)
		limit.Until = q.schedule.until[in.def.Name]
		in.readAhead(ctx, rng.To, rng.Identity, limit)
	}
}

// execute runs the plan's statements in one DuckDB transaction. A fault of single rows is bisected; the rows found
// are logged before anything is delivered.
func (q *Query) execute(ctx context.Context, w *work) error {
	if w.intent.Evolved {
		w.out = q.rewritten()
		return nil
	}
	if w.intent.Slot != nil {
		if err := q.freshSession(ctx); err != nil {
			return err
		}
	}
	out, err := q.session.Run(ctx, q.call(w))
	if err != nil && rowFault(err) && w.replay == nil && !w.early {
		out, err = q.executePoisoned(ctx, w, err)
	}
	if err != nil {
		return q.batchError(w, err)
	}
	w.out = out
	return q.conserve(w)
}

func (q *Query) call(w *work) exec.Call {
	c := exec.Call{Batch: w.intent.Batch + q.shift, Time: w.intent.Time, Watermark: w.intent.Watermark, Late: w.intent.Late,
		Final: w.intent.Final, Unheard: w.replay != nil, Inputs: map[string]exec.Input{}, Excluded: map[string]map[int64]string{}}
	if s := w.intent.Slot; s != nil {
		c.Slot = &[2]time.Time{s.Start, s.End}
	}
	for name, r := range w.data {
		c.Inputs[name] = exec.Input{Records: r.records}
	}
	for name, rows := range w.excluded {
		c.Excluded[name] = make(map[int64]string, len(rows))
		for _, x := range rows {
			c.Excluded[name][x.Ordinal] = x.Reason
		}
	}
	return c
}

// conserve checks that every row that came in is accounted for.
func (q *Query) conserve(w *work) error {
	for _, in := range q.inputs {
		c := w.out.Sources[in.def.Name]
		if c == nil {
			continue
		}
		if sum := c.Used + c.Filtered + c.Late + c.NullTime + c.Dead; c.In != sum {
			return diag.New(diag.ConservationBroken,
				"batch %d of query %q: source %q gave %d rows, but %d used + %d filtered + %d late + %d without time + %d dead = %d",
				w.intent.Batch, q.def.Name, in.def.Name, c.In, c.Used, c.Filtered, c.Late, c.NullTime, c.Dead, sum).
				WithHint("this is a fault of Tidemill; nothing of the batch was delivered")
		}
	}
	return nil
}

// account notes what became of the rows of a batch that has been executed, and where it leads. It needs neither log nor
// sinks.
func (q *Query) account(w *work) {
	for _, in := range q.inputs {
		if r, ok := w.data[in.def.Name]; ok {
			w.counts[in.def.Name] = q.count(in, r, w.out.Sources[in.def.Name])
			q.snapshot.bytes += r.bytes()
		}
	}
	if q.stateful() {
		q.snapshot.work += time.Duration((w.phases["getBatch"] + w.phases["addBatch"]) * float64(time.Millisecond))
	}
	w.state = q.stateCount(w.out.State)
	watermark, watermarks := w.from.watermark, w.from.watermarks // of a batch that reads nothing and closes nothing
	switch {
	case w.intent.Slot != nil:
		watermark, watermarks = nil, nil
	case !w.intent.Evolved:
		watermarks = q.observe(w.from.watermarks, w.counts)
		watermark = q.advance(w.intent.Watermark, watermarks, w.intent.Idle)
	}
	w.to = w.from.after(w.intent, watermark, watermarks)
}

func (q *Query) stateCount(n exec.StateCounts) checkpoint.StateCount {
	memory, spilled := q.session.Bytes()
	return checkpoint.StateCount{Rows: n.Rows, Updated: n.Updated, Removed: n.Removed, Dropped: n.Dropped, Memory: memory,
		Spilled: spilled}
}

func (q *Query) count(in *input, r *rows, e *exec.Counts) checkpoint.SourceCount {
	n := checkpoint.SourceCount{Messages: r.count, CRC: r.crc, Lost: r.lost}
	if e != nil {
		n.In, n.Used, n.Filtered, n.Late, n.NullTime, n.Dead, n.MaxTime =
			e.In, e.Used, e.Filtered, e.Late, e.NullTime, e.Dead, e.MaxTime
	}
	faults := int64(len(r.faults))
	n.In += faults
	n.Dead += faults
	if in.def.Options.String("on_error") == "skip" {
		n.Skipped = n.Dead
	}
	return n
}
