package engine

import (
	"context"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/stream"
)

// planning says what the next batch may take.
type planning struct {
	from      position // where it begins
	unlimited bool     // without the sources' limits
	until     map[string]stream.Offset
	early     bool // the batch before it is not delivered yet
}

// nextWork is step 1. Nil says that there is nothing to do.
func (q *Query) nextWork(ctx context.Context, p planning) (*work, error) {
	began := q.opt.Clock.Now()
	if !p.early { // else none is due
		if err := q.refreshTables(ctx); err != nil {
			return nil, err
		}
	}
	in, err := q.admit(ctx, p)
	if err != nil || in == nil {
		return nil, err
	}
	in.Tick = q.schedule.tick
	w := q.newWork(*in, p.from)
	w.early, w.began = p.early, began
	w.phases["latestOffset"] = millis(q.opt.Clock.Now().Sub(began))
	return w, nil
}

// admit asks every source how far it could go and makes the next Intent, or nil if there is nothing new and no watermark
// to act on.
func (q *Query) admit(ctx context.Context, p planning) (*checkpoint.Intent, error) {
	now := q.opt.Clock.Now()
	in := &checkpoint.Intent{Batch: p.from.next, Time: now.Truncate(time.Microsecond),
		Sources: make(map[string]stream.Range, len(q.inputs)), Tables: q.tables.versions(), Plan: q.plan.Hash()}
	fresh := false
	for _, s := range q.inputs {
		rng, err := q.admitSource(ctx, s, p)
		if err != nil {
			return nil, err
		}
		in.Sources[s.def.Name] = rng
		fresh = fresh || rng.From != rng.To
		if rng.From != rng.To || s.behind > 0 {
			s.lastNew = now
		}
	}
	in.Idle = q.idleSources(now)
	in.Late = p.from.evicted
	in.Watermark = q.advance(p.from.watermark, p.from.watermarks, in.Idle)
	if !fresh {
		in.Watermark = q.advanceIdle(in.Watermark, now)
	}
	if !fresh && (!q.plan.UsesWatermark() || !moved(p.from.evicted, in.Watermark)) {
		q.session.Idle()
		return nil, nil //nolint:nilnil // nothing to do is no error
	}
	return in, nil
}

func (q *Query) admitSource(ctx context.Context, s *input, p planning) (stream.Range, error) {
	name := s.def.Name
	limit := q.pace.bound(s, s.limit)
	if p.unlimited {
		limit = stream.Limit{}
	}
	limit.Until = p.until[name]
	rng := stream.Range{From: p.from.offsets[name], Identity: p.from.identities[name]}
	var avail stream.Available
	err := q.insist(ctx, p.early, p.from.next, func() (err error) {
		if avail, err = s.available(ctx, rng.From, rng.Identity, limit); err != nil {
			s.lastNew = q.opt.Clock.Now() // who can not be asked is not known to be idle
		}
		return err
	})
	if err != nil {
		return rng, err
	}
	rng.To, rng.Identity, s.behind = avail.To, avail.Identity, avail.Behind
	return rng, nil
}

// ends asks every source how far it goes now, without limits: where AVAILABLE NOW and cron ticks stop.
func (q *Query) ends(ctx context.Context) (map[string]stream.Offset, error) {
	until := make(map[string]stream.Offset, len(q.inputs))
	for _, s := range q.inputs {
		s.dropAhead()
		rng, err := q.admitSource(ctx, s, planning{from: q.pos, unlimited: true})
		if err != nil {
			return nil, err
		}
		until[s.def.Name] = rng.To
	}
	return until, nil
}
