package engine

import (
	"time"

	"github.com/tidemill/tidemill/checkpoint"
)

// progress describes a committed batch. It is called before the position moves.
func (q *Query) progress(w *work, c checkpoint.Commit) Progress {
	w.phases["triggerExecution"] = millis(w.ended.Sub(w.began))
	for name, d := range w.out.Phases {
		w.phases[name] = millis(d)
	}
	p := Progress{
		ID: q.uuid, Name: q.def.Name, Epoch: q.epoch, BatchID: c.Batch, Timestamp: w.began, BatchDuration: c.Millis,
		DurationMs: w.phases, Totals: c.Totals, Inexact: c.Inexact, NoData: true, Early: w.early,
		EventTime: EventTime{Watermark: microsTime(w.intent.Watermark), Next: microsTime(c.Watermark)},
		StateOperators: []StateProgress{{NumRowsTotal: c.State.Rows, NumRowsUpdated: c.State.Updated,
			NumRowsRemoved: c.State.Removed, NumRowsDropped: c.State.Dropped, MemoryUsed: c.State.Memory, Spilled: c.State.Spilled}},
		Sink: SinkProgress{Names: q.def.Sinks, NumOutputRows: c.Rows},
	}
	for _, in := range q.inputs {
		n, rng := c.Sources[in.def.Name], w.intent.Sources[in.def.Name]
		p.NumInputRows += n.In
		p.NoData = p.NoData && rng.From == rng.To
		if n.MaxTime != nil && (p.EventTime.Max == nil || microsTime(n.MaxTime).After(*p.EventTime.Max)) {
			p.EventTime.Max = microsTime(n.MaxTime)
		}
		p.Sources = append(p.Sources, SourceProgress{Name: in.def.Name, Description: in.def.Connector + " " + in.def.Name,
			StartOffset: string(rng.From), EndOffset: string(rng.To), Behind: w.behind[in.def.Name], In: n.In, Used: n.Used,
			Filtered: n.Filtered, Late: n.Late, NullTime: n.NullTime, Dead: n.Dead, Lost: n.Lost})
	}
	p.InputPerSecond = perSecond(p.NumInputRows, w.began.Sub(q.ledger.began))
	p.ProcessedPerSec = perSecond(p.NumInputRows, w.ended.Sub(w.began))
	return p
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// published makes the batch visible: status, log line and listener.
func (q *Query) published(p Progress) {
	s := Status{Query: q.def.Name, UUID: q.uuid, State: "running", Batch: q.pos.next, Watermark: q.pos.watermark, Last: &p}
	q.status.Store(&s)
	q.log.Debug("batch committed", "batch", p.BatchID, "rows", p.NumInputRows, "out", p.Sink.NumOutputRows,
		"dur", p.BatchDuration)
	tell(q.opt.Listener.BatchDone, p)
}
