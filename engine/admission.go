package engine

import (
	"context"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/stream"
)

// admit is step 1: it asks every source how far it could go and makes the next Intent, or nil if there is nothing
// new and no watermark to act on. Limits hold unless unlimited; until bounds each source that it names.
func (q *Query) admit(ctx context.Context, unlimited bool, until map[string]stream.Offset) (*checkpoint.Intent, error) {
	now := q.opt.Clock.Now()
	in := &checkpoint.Intent{Batch: q.pos.next, Time: now.Truncate(time.Microsecond),
		Sources: make(map[string]stream.Range, len(q.inputs)), Tables: q.tables.versions(), Plan: q.plan.Hash()}
	fresh := false
	for _, s := range q.inputs {
		rng, err := q.admitSource(ctx, s, unlimited, until)
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
	in.Late = q.pos.evicted
	in.Watermark = q.advance(q.pos.watermark, q.pos.watermarks, in.Idle)
	if !fresh {
		in.Watermark = q.advanceIdle(in.Watermark, now)
	}
	if !fresh && (!q.plan.UsesWatermark() || !moved(q.pos.evicted, in.Watermark)) {
		return nil, nil //nolint:nilnil // nothing to do is no error
	}
	return in, nil
}

func (q *Query) admitSource(
	ctx context.Context, s *input, unlimited bool, until map[string]stream.Offset,
) (stream.Range, error) {
	name := s.def.Name
	limit := q.pace.bound(s, s.limit)
	if unlimited {
		limit = stream.Limit{}
	}
	limit.Until = until[name]
	rng := stream.Range{From: q.pos.offsets[name], Identity: q.pos.identities[name]}
	var avail stream.Available
	err := q.retry(ctx, q.pos.next, func() (err error) {
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
		rng, err := q.admitSource(ctx, s, true, nil)
		if err != nil {
			return nil, err
		}
		until[s.def.Name] = rng.To
	}
	return until, nil
}
