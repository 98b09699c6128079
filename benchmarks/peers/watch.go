package peers

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watch runs a contender and measures it. Where it refuses the workload, e says so and f is nil.
func (r *run) watch(ctx context.Context, w *workload, c contender, j job, e *Entry) (*Figures, error) {
	var feed *feed
	if w.follow {
		var err error
		if feed, err = w.feed(); err != nil {
			return nil, err
		}
		defer feed.reset()
	}
	cmd, err := c.command(w, j)
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	var span [2]mark // of the measurement, where it is not that of the query
	if feed != nil {
		span, err = r.serve(ctx, p, feed)
	} else if !cmd.term {
		err = p.until(ctx, func(s seen) bool { return s.done.at.After(s.start.at) || s.refused != nil })
	}
	if err == nil && feed != nil {
		err = p.stop()
	} else if err == nil {
		err = p.finish()
	} else {
		err = errors.Join(err, p.kill(), p.finish())
	}
	s := p.look()
	if s.version != "" {
		r.report.Versions[c.name()] = s.version
	}
	if s.refused != nil {
		e.Refused, e.Why = s.refused.Code, s.refused.Message
		return nil, nil
	}
	if code := refusedCode(p.stderr.last()); err != nil && cmd.term && code != "" && len(s.batches) == 0 {
		e.Refused = code
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := s.figures(w, p, span)
	if feed != nil {
		f.Latency = feed.latency(s.batches)
	}
	return f, nil
}

// figures are those of a child that has ended. span is of a workload that follows.
func (s seen) figures(w *workload, p *child, span [2]mark) *Figures {
	f := &Figures{Peak: s.peak, Batches: len(s.batches)}
	from, to := s.start, s.done
	if to.at.IsZero() { // it says no more than its batches
		to = mark{time.Now(), p.cmd.ProcessState.UserTime().Seconds() + p.cmd.ProcessState.SystemTime().Seconds()}
	}
	if w.follow {
		from, to = span[0], span[1]
	}
	f.CPU = to.cpu - from.cpu
	f.First = to.at.Sub(p.began).Seconds()
	f.Seconds = to.at.Sub(from.at).Seconds()
	if n := len(s.batches); n > 0 {
		f.First = s.batches[0].at.Sub(p.began).Seconds()
		f.Seconds = s.batches[n-1].end().Sub(s.batches[0].Time).Seconds()
	}
	if w.cold {
		f.Seconds = f.First
	}
	var took []float64
	for _, b := range s.batches {
		if b.Rows > 0 {
			took = append(took, b.Duration)
		}
	}
	f.P50, f.P99 = quantile(took, 0.5), quantile(took, 0.99)
	f.PerSecond = float64(w.rows) / max(f.Seconds, 1e-3)
	f.CPUPerMillion = f.CPU / float64(w.rows) * 1e6
	return f
}

// serve lets rows arrive once the first batch shows that the query is at work, and waits until all are committed.
// The span that it returns begins when the warm-up of the feed is over.
func (r *run) serve(ctx context.Context, p *child, f *feed) (span [2]mark, err error) {
	working := func(s seen) bool { return s.rows() >= f.perFile || s.refused != nil }
	if err := f.next(); err != nil {
		return span, err
	}
	if err := p.until(ctx, working); err != nil || p.look().refused != nil {
		return span, err
	}
	tick := time.NewTicker(f.every)
	defer tick.Stop()
	for f.sent < f.files {
		if f.sent == f.ignored {
			span[0] = p.now()
		}
		select {
		case <-ctx.Done():
			return span, context.Cause(ctx)
		case <-p.ended:
			return span, errors.New("it ended while rows were arriving")
		case <-tick.C:
			if err := f.next(); err != nil {
				return span, err
			}
		}
	}
	total := f.perFile * int64(f.files)
	if err := p.until(ctx, func(s seen) bool { return s.rows() >= total }); err != nil {
		return span, fmt.Errorf("wait for the last row: %w", err)
	}
	span[1] = p.now()
	return span, nil
}

// rows counts what the batches have read.
func (s seen) rows() int64 {
	var n int64
	for _, b := range s.batches {
		n += b.Rows
	}
	return n
}
