package engine

import (
	"time"

	"github.com/tidemill/tidemill/checkpoint"
)

// Progress describes one committed batch. The JSON names are Spark's StreamingQueryProgress where it has them.
type Progress struct {
	ID              string             `json:"id"`    // uuid of the query
	Name            string             `json:"name"`  // of the query
	Epoch           uint64             `json:"epoch"` // which life of the owner
	BatchID         int64              `json:"batchId"`
	Timestamp       time.Time          `json:"timestamp"`     // when the batch began
	BatchDuration   float64            `json:"batchDuration"` // milliseconds
	NumInputRows    int64              `json:"numInputRows"`
	InputPerSecond  float64            `json:"inputRowsPerSecond"`     // since the batch before
	ProcessedPerSec float64            `json:"processedRowsPerSecond"` // while the batch ran
	DurationMs      map[string]float64 `json:"durationMs"`             // by phase
	EventTime       EventTime          `json:"eventTime"`
	StateOperators  []StateProgress    `json:"stateOperators"`
	Sources         []SourceProgress   `json:"sources"`
	Sink            SinkProgress       `json:"sink"`
	Totals          checkpoint.Totals  `json:"totals"`
	NoData          bool               `json:"noData"`          // only the watermark moved
	Early           bool               `json:"early,omitempty"` // computed while the batch before was delivered
	Inexact         bool               `json:"inexact,omitempty"`
}

// EventTime says where a batch's watermark stood, in UTC; nil where it is not known yet.
type EventTime struct {
	Watermark *time.Time `json:"watermark"` // the one this batch evicted with
	Next      *time.Time `json:"next"`      // the one the next batch will evict with
	Max       *time.Time `json:"max"`       // largest event time of this batch
}

// StateProgress counts logical state rows of all operators together.
type StateProgress struct {
	NumRowsTotal   int64 `json:"numRowsTotal"`
	NumRowsUpdated int64 `json:"numRowsUpdated"`
	NumRowsRemoved int64 `json:"numRowsRemoved"`
	NumRowsDropped int64 `json:"numRowsDroppedByWatermark"`
	MemoryUsed     int64 `json:"memoryUsedBytes"` // of state kept outside DuckDB, in memory
	Spilled        int64 `json:"spilledBytes"`    // and in files beyond its share of the memory limit
}

// SourceProgress says what one source gave to the batch, and what became of it.
type SourceProgress struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	StartOffset string `json:"startOffset"`
	EndOffset   string `json:"endOffset"`
	Behind      int64  `json:"numRowsBehind"` // -1: unknown
	In          int64  `json:"numInputRows"`
	Used        int64  `json:"used"`
	Filtered    int64  `json:"filtered"`
	Late        int64  `json:"late"`
	NullTime    int64  `json:"nullTime"`
	Dead        int64  `json:"deadLettered"`
	Lost        int64  `json:"lost"`
}

// SinkProgress says what the batch gave to its sinks.
type SinkProgress struct {
	Names         []string `json:"names"`
	NumOutputRows int64    `json:"numOutputRows"`
}

// Status is what a query is doing now.
type Status struct {
	Query     string
	UUID      string
	State     string // starting, running, waiting, retrying, stopped, failed
	Batch     int64  // next batch's number
	Watermark *int64
	Last      *Progress
	Err       error
}

func microsTime(us *int64) *time.Time {
	if us == nil {
		return nil
	}
	t := time.UnixMicro(*us).UTC()
	return &t
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
