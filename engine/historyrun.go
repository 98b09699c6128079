package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// history is a run of a text over what its query has consumed, in slices, that leaves nothing but state in memory.
type history struct {
	q     *Query // with a session and sources of its own, and neither a checkpoint nor sinks
	done  map[string]stream.Offset
	fault string // why the first row could not be used; "" if all could
}

// sliceLimit bounds a slice: what a batch of the query then waits for.
func sliceLimit(until stream.Offset) stream.Limit {
	return stream.Limit{Rows: 50_000, Bytes: 16 << 20, Until: until}
}

// openHistory prepares to run a text from where the query's sources began.
func (q *Query) openHistory(ctx context.Context, app *planner.App, name, what string) (*history, error) {
	n, err := newQuery(q.opt, app, name)
	if err != nil {
		return nil, err
	}
	n.stop = q.stop // a pause between tries ends with the query's
	h := &history{q: n, done: map[string]stream.Offset{}}
	if err := h.open(ctx, q, what); err != nil {
		return nil, fmt.Errorf("prepare to run the text over history: %w", withClose(err, n.release(false)))
	}
	return h, nil
}

func (h *history) open(ctx context.Context, owner *Query, what string) (err error) {
	n := h.q
	dir := owner.ckpt.Dir()
	n.limit /= 2 // the query goes on beside it
	if err := n.openDuck(ctx, historyDir(dir, what)); err != nil {
		return err
	}
	if n.plan, err = buildPlan(ctx, n.db, n.app, n.def); err != nil {
		return err
	}
	if err := n.shareMemory(ctx, historyDir(dir, what)); err != nil {
		return err
	}
	n.pos, n.ledger = newPosition(), newLedger(n.opt.Clock.Now())
	start := owner.ckpt.Meta().Start
	for i, s := range n.plan.Sources {
		in, err := openInput(ctx, n.opt, n.app, s, home{dir: filepath.Join(dir, "sources", s.Name), beside: true})
		if err != nil {
			return err
		}
		n.inputs = append(n.inputs, in)
		in.leave(n.plan.Inputs[i].Unread)
		n.pos.offsets[s.Name], n.pos.identities[s.Name] = start[s.Name], owner.pos.identities[s.Name]
	}
	if err := n.openSession(ctx); err != nil {
		return err
	}
	return n.borrowTables(ctx, owner)
}

// borrowTables loads reference tables from the owner's copies, and others as a start of the query would.
func (q *Query) borrowTables(ctx context.Context, owner *Query) error {
	q.tables = newTables(q.app, q.plan, owner.tables.copies)
	if err := q.useTables(ctx, owner.tables.versions()); err != nil {
		return err
	}
	return q.loadMissing(ctx)
}

// probe asks each source whether it still has what was consumed first.
func (h *history) probe(ctx context.Context, target map[string]stream.Offset) error {
	for _, in := range h.q.inputs {
		if _, err := h.available(ctx, in, target[in.def.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) available(ctx context.Context, in *input, until stream.Offset) (rng stream.Range, err error) {
	name := in.def.Name
	rng = stream.Range{From: h.q.pos.offsets[name], To: h.q.pos.offsets[name], Identity: h.q.pos.identities[name]}
	if rng.From == until {
		return rng, nil
	}
	err = h.q.retry(ctx, h.q.pos.next, func() error {
		avail, err := in.src.Available(ctx, rng.From, rng.Identity, sliceLimit(until))
		if err != nil {
			return fmt.Errorf("ask source %q: %w", name, err)
		}
		rng.To, rng.Identity = avail.To, avail.Identity
		return nil
	})
	return rng, err
}

// step runs the next slice up to where the query stands, and gives its result to take, which borrows it. done says that
// there was nothing left, and that the watermark is where the query's is.
func (h *history) step(
	ctx context.Context, at *position, take func(context.Context, stream.Batch) error,
) (done bool, err error) {
	in, err := h.nextIntent(ctx, at)
	if err != nil || in == nil {
		return err == nil, err
	}
	w := h.q.newWork(*in, h.q.pos)
	defer w.release()
	if err := h.run(ctx, w); err != nil {
		return false, err
	}
	if err := take(ctx, w.out.Result); err != nil {
		return false, err
	}
	c := h.q.newCommit(w)
	c.Watermark = least(c.Watermark, at.evicted)
	h.q.apply(w.intent, c)
	return false, nil
}

// nextIntent plans the next slice: of the source whose watermark is furthest behind, as its rows are what the others
// wait for. Behind the last row it moves the watermark to the query's. Nil says that all is done.
func (h *history) nextIntent(ctx context.Context, at *position) (*checkpoint.Intent, error) {
	pos := &h.q.pos
	in := &checkpoint.Intent{Batch: pos.next, Time: h.q.opt.Clock.Now().Truncate(time.Microsecond),
		Sources: map[string]stream.Range{}, Watermark: least(pos.watermark, at.evicted), Late: pos.evicted}
	for {
		s := h.furthestBehind(at)
		if s == nil {
			break
		}
		name := s.def.Name
		rng, err := h.available(ctx, s, at.offsets[name])
		if err != nil {
			return nil, err
		}
		if rng.To != rng.From {
			in.Sources[name] = rng
			return in, nil
		}
		h.done[name] = at.offsets[name] // nothing that it reads lies in between
	}
	in.Watermark = at.evicted
	if !moved(pos.evicted, at.evicted) {
		return nil, nil //nolint:nilnil // nothing is left
	}
	return in, nil
}

func (h *history) furthestBehind(at *position) *input {
	var chosen *input
	for _, in := range h.q.inputs {
		name := in.def.Name
		if h.done[name] == at.offsets[name] || h.q.pos.offsets[name] == at.offsets[name] {
			continue
		}
		if chosen == nil || h.watermark(in) < h.watermark(chosen) {
			chosen = in
		}
	}
	return chosen
}

func (h *history) watermark(in *input) int64 {
	if wm, known := h.q.pos.watermarks[in.def.Name]; known {
		return wm
	}
	return -1 << 63
}

// run is a batch without log and sinks. Rows that make the plan fail are left out, as a batch of the query does.
func (h *history) run(ctx context.Context, w *work) error {
	if err := h.q.fetch(ctx, w); err != nil {
		return err
	}
	for _, r := range w.data {
		if len(r.faults) > 0 {
			h.note(r.faults[0].Reason)
		}
	}
	out, err := h.q.session.Run(ctx, h.q.call(w))
	if err != nil && rowFault(err) {
		x, perr := h.q.findPoison(ctx, w, err)
		if perr != nil {
			return perr
		}
		out, err = h.q.runWithout(ctx, w, x, err)
	}
	if err != nil {
		return fmt.Errorf("run over history: %w", err)
	}
	w.out = out
	if len(out.Dead) > 0 {
		h.note(out.Dead[0].Reason)
	}
	if err := h.q.conserve(w); err != nil {
		return err
	}
	h.q.account(w)
	return nil
}

func (h *history) note(fault string) {
	if h.fault == "" {
		h.fault = shortReason(fault)
	}
}

// least returns the earlier of two watermarks, of which nil is not known yet.
func least(a, b *int64) *int64 {
	if a == nil || b == nil {
		return nil
	}
	if *a < *b {
		return a
	}
	return b
}

// withClose keeps the coded error in front.
func withClose(err, closed error) error {
	if closed == nil {
		return err
	}
	return diag.Wrap(diag.CodeOf(err), err, "and close: %v", closed)
}
