package httpapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemill/tidemill/engine"
)

// metrics are made from the engine's events alone.
type metrics struct {
	batches    *prometheus.CounterVec
	rows       *prometheus.CounterVec // query, source, fate
	out        *prometheus.CounterVec
	retries    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	phases     *prometheus.HistogramVec
	snapshots  *prometheus.HistogramVec
	behind     *prometheus.GaugeVec
	watermark  *prometheus.GaugeVec
	lag        *prometheus.GaugeVec
	state      *prometheus.GaugeVec
	stateBytes *prometheus.GaugeVec
	epoch      *prometheus.GaugeVec
}

func newMetrics(reg *prometheus.Registry) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemill_" + name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tidemill_" + name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "tidemill_" + name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 18)}, labels)
		reg.MustRegister(v)
		return v
	}
	return &metrics{
		batches:    counter("batches_total", "Committed batches.", "query"),
		rows:       counter("source_rows_total", "Rows by what became of them: used, filtered, late, null_time, dead, lost.", "query", "source", "fate"),
		out:        counter("sink_rows_total", "Rows of results delivered.", "query"),
		retries:    counter("retries_total", "Faults that were tried again.", "query"),
		duration:   histogram("batch_seconds", "Wall time of a batch.", "query"),
		phases:     histogram("batch_phase_seconds", "Wall time of a batch's phases, by Spark's names.", "query", "phase"),
		snapshots:  histogram("state_version_seconds", "Time to write a state version, off the batch's path.", "query"),
		behind:     gauge("source_behind", "Messages or rows that wait in the source.", "query", "source"),
		watermark:  gauge("watermark_timestamp_seconds", "The query's watermark.", "query"),
		lag:        gauge("watermark_lag_seconds", "How far the watermark is behind the clock.", "query"),
		state:      gauge("state_rows", "Logical rows of state.", "query"),
		stateBytes: gauge("state_bytes", "Bytes of state kept outside DuckDB, in memory and spilled to files.", "query", "where"),
		epoch:      gauge("epoch", "Which life of the query this is.", "query"),
	}
}

func (m *metrics) started(e engine.Started) {
	m.epoch.WithLabelValues(e.Query).Set(float64(e.Epoch))
	m.batches.WithLabelValues(e.Query).Add(0)
}

func (m *metrics) batch(p engine.Progress) {
	q := p.Name
	m.batches.WithLabelValues(q).Inc()
	m.out.WithLabelValues(q).Add(float64(p.Sink.NumOutputRows))
	m.duration.WithLabelValues(q).Observe(p.BatchDuration / 1000)
	for phase, ms := range p.DurationMs {
		m.phases.WithLabelValues(q, phase).Observe(ms / 1000)
	}
	for _, s := range p.StateOperators {
		m.state.WithLabelValues(q).Set(float64(s.NumRowsTotal))
		m.stateBytes.WithLabelValues(q, "memory").Set(float64(s.MemoryUsed))
		m.stateBytes.WithLabelValues(q, "spilled").Set(float64(s.Spilled))
	}
	for _, s := range p.Sources {
		name := s.Name
		for fate, n := range map[string]int64{"used": s.Used, "filtered": s.Filtered, "late": s.Late,
			"null_time": s.NullTime, "dead": s.Dead, "lost": s.Lost} {
			m.rows.WithLabelValues(q, name, fate).Add(float64(n))
		}
		if s.Behind >= 0 {
			m.behind.WithLabelValues(q, name).Set(float64(s.Behind))
		}
	}
	if wm := p.EventTime.Next; wm != nil {
		m.watermark.WithLabelValues(q).Set(float64(wm.UnixMicro()) / 1e6)
		m.lag.WithLabelValues(q).Set(p.Timestamp.Add(time.Duration(p.BatchDuration * float64(time.Millisecond))).Sub(*wm).Seconds())
	}
}
