package peers

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	if feed == nil {
		return s.figures(w, p), nil
	}
	f := s.between(span, feed.counted())
	f.First, f.Latency = s.batches[0].at.Sub(p.began).Seconds(), feed.latency(s.batches)
	return f, nil
}

// figures are those of a child that has ended.
func (s seen) figures(w *workload, p *child) *Figures {
	from, to := s.start, s.done
	if to.at.IsZero() { // it says no more than its batches
		to = mark{time.Now(), p.cmd.ProcessState.UserTime().Seconds() + p.cmd.ProcessState.SystemTime().Seconds()}
	}
	f := &Figures{Peak: s.peak, CPU: to.cpu - from.cpu, First: to.at.Sub(p.began).Seconds(),
		Seconds: to.at.Sub(from.at).Seconds()}
	if n := len(s.batches); n > 0 {
		f.First = s.batches[0].at.Sub(p.began).Seconds()
		f.Seconds = s.batches[n-1].end().Sub(s.batches[0].Time).Seconds()
	}
	if w.cold { // the start is what is asked about
		f.Seconds, f.CPU = f.First, to.cpu
	}
	f.rest(s.batches, w.rows)
	return f
}

// between are the figures of a stretch of time in which so many rows arrived.
func (s seen) between(span [2]mark, rows int64) *Figures {
	f := &Figures{Peak: s.peak, CPU: span[1].cpu - span[0].cpu, Seconds: span[1].at.Sub(span[0].at).Seconds()}
	f.rest(slices.DeleteFunc(slices.Clone(s.batches), func(b line) bool { return b.Time.Before(span[0].at) }), rows)
	return f
}

// rest fills in what follows from batches, rows, time and CPU time.
func (f *Figures) rest(batches []line, rows int64) {
	var took []float64
	for _, b := range batches {
		if b.Rows > 0 {
			took = append(took, b.Duration)
		}
	}
	f.Batches, f.P50, f.P99 = len(batches), quantile(took, 0.5), quantile(took, 0.99)
	f.PerSecond = float64(rows) / max(f.Seconds, 1e-3)
	f.CPUPerMillion = f.CPU / float64(rows) * 1e6
}

// serve lets rows arrive once the first batch shows that the query is at work, and waits until all are committed.
// The span that it returns begins when the warm-up of the feed is over.
func (r *run) serve(ctx context.Context, p *child, f *feed) (span [2]mark, err error) {
	working := func(s seen) bool { return s.started && s.rows() >= f.perFile || s.refused != nil }
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
