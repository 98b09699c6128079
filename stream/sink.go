package stream

import (
	"context"
	"fmt"
	"slices"

	"github.com/tidemill/tidemill/internal/diag"
)

// Marker is what a sink stores beside a batch, in the same atomic step, to know the batch again.
type Marker struct {
	Query     string `json:"query"`      // the query's uuid, not its name: two data dirs are two queries
	Epoch     uint64 `json:"epoch"`      // which life of the owner wrote it
	Batch     int64  `json:"batch"`      // -1 when nothing has been delivered yet
	IntentCRC uint32 `json:"intent_crc"` // CRC of the batch's Intent: the same number over another range is another batch
	// Life tells lives of one epoch apart, which two copies of a data dir have. "" in markers of before there was one.
	Life string `json:"life,omitempty"`
}

// Owner is who opens a sink, and what its log says it has delivered there.
type Owner struct {
	Query    string   // uuid
	Name     string   // for messages and default names
	Epoch    uint64   // larger in each life of a data dir; a copy of the dir counts on by itself
	Life     string   // random, of this life alone; "" in tests that have no use for it
	Lives    []string // of this data dir, this one too, as far as its log remembers: LivesMax at most
	Last     *Marker  // the last batch the log says this sink holds; nil for none
	Pending  *Marker  // the batch that has an Intent but no Commit, which the sink may or may not hold; nil for none
	TakeOver bool     // --take-over: whatever marker is there, it is ours now
}

// LivesMax is how many lives of a data dir its log remembers.
const LivesMax = 64

// Accept decides whether a sink whose stored marker is found (nil: no marker) may be written by this owner. It
// returns SINK_MISMATCH when the sink holds another query's batches, or another batch than this log delivered
// last: a deleted or restored data dir, a second query of one name, a sink that was emptied, a copy of the data dir
// that has run.
func (o Owner) Accept(sink string, found *Marker) error {
	switch {
	case o.TakeOver:
		return nil
	case found == nil:
		if o.Last == nil {
			return nil
		}
		return o.mismatch(sink, fmt.Sprintf("the sink has no marker, but the log says it holds batch %d", o.Last.Batch)).
			WithNote("a sink that is to begin at another place needs another name: the log knows it by %q", sink)
	case found.Query != o.Query:
		return o.mismatch(sink, fmt.Sprintf("the sink's marker belongs to another query (uuid %s, batch %d)", found.Query, found.Batch))
	case found.Epoch > o.Epoch:
		return diag.New(diag.SinkFenced, "sink %q of query %q has been taken over by a newer owner (epoch %d, ours is %d)",
			sink, o.Name, found.Epoch, o.Epoch)
	case o.stranger(found):
		return o.mismatch(sink, fmt.Sprintf("its marker (batch %d, epoch %d) is of a life that this data dir has not had: "+
			"a copy of it runs, or has run", found.Batch, found.Epoch)).
			WithNote("two copies of one data dir are two queries that take each other's place")
	case found.matches(o.Last), found.matches(o.Pending):
		return nil
	case found.Batch == -1 && o.Last == nil:
		return nil
	}
	return o.mismatch(sink, fmt.Sprintf("the sink's marker says batch %d, which is not the last batch the log delivered", found.Batch))
}

// stranger reports that the query's marker was written by a life that is none of this data dir: by one of a copy. An
// epoch that another life has too is proof; else it takes a log that remembers every life of its dir.
func (o Owner) stranger(found *Marker) bool {
	if found.Life == "" || o.Life == "" || slices.Contains(o.Lives, found.Life) || found.Life == o.Life {
		return false
	}
	return found.Epoch == o.Epoch || len(o.Lives) > 0 && len(o.Lives) < LivesMax
}

// Fenced returns SINK_FENCED unless found, which a sink met after its Open, is a marker of this very life. Whatever else
// is there was written after ours, so the sink is somebody else's: nothing may be sent again.
func (o Owner) Fenced(sink string, found Marker) error {
	if o.wrote(&found) {
		return nil
	}
	e := diag.New(diag.SinkFenced, "sink %q of query %q has been taken over by another owner (query %s, epoch %d; ours is %d)",
		sink, o.Name, found.Query, found.Epoch, o.Epoch)
	if found.Query == o.Query && found.Epoch > o.Epoch {
		e = diag.New(diag.SinkFenced, "sink %q of query %q has been taken over by a newer owner (epoch %d, ours is %d)",
			sink, o.Name, found.Epoch, o.Epoch)
	}
	if found.Query == o.Query && found.Epoch == o.Epoch {
		e = e.WithNote("both have one epoch: a copy of the data dir runs")
	}
	return e.WithHint("only one process may run the query")
}

// wrote reports that this very life wrote m.
func (o Owner) wrote(m *Marker) bool {
	return m.Query == o.Query && m.Epoch == o.Epoch && m.Life == o.Life
}

// Alone refuses a place whose marker was written in this very life: another sink of the same query writes there.
// It is for sinks that open once in a life. With TakeOver it refuses nothing, as Accept.
func (o Owner) Alone(sink string, found *Marker) error {
	if o.TakeOver || found == nil || !o.wrote(found) {
		return nil
	}
	return diag.New(diag.SinkMismatch, "sink %q: another sink of query %q writes to the same place", sink, o.Name).
		WithHint("give each sink a place of its own, or write to one of them only")
}

// Adopt returns the marker that a sink rewrites on Open, after Accept has agreed to found: the same batch under
// our epoch, or after a take-over of another's marker the last batch that our log knows.
func (o Owner) Adopt(found *Marker) Marker {
	m := Marker{Query: o.Query, Epoch: o.Epoch, Life: o.Life, Batch: -1}
	switch {
	case found.matches(o.Last), found.matches(o.Pending):
		m.Batch, m.IntentCRC = found.Batch, found.IntentCRC
	case o.Last != nil:
		m.Batch, m.IntentCRC = o.Last.Batch, o.Last.IntentCRC
	}
	return m
}

func (o Owner) mismatch(sink, why string) *diag.Error {
	return diag.New(diag.SinkMismatch, "sink %q does not hold what query %q delivered: %s", sink, o.Name, why).
		WithHint("write to a new place, restore the matching data dir, or start once with --take-over to adopt what is there")
}

func (m *Marker) matches(o *Marker) bool {
	return m != nil && o != nil && m.Query == o.Query && m.Batch == o.Batch && m.IntentCRC == o.IntentCRC
}

// Delivery is one batch's result for one sink.
type Delivery struct {
	Marker  Marker
	Mode    Mode
	Result  Batch
	Replace string // not empty: a backfill slot; the result replaces what the same (query, slot) wrote before
}

// A Sink holds every delivered batch exactly once, or says loudly in its Spec that it can not. One query
// goroutine calls it.
type Sink interface {
	// Open checks the stored marker with o.Accept and rewrites it under o.Epoch by compare-and-set, which fences
	// an owner that still lives elsewhere. It is called once, before the first Write.
	Open(ctx context.Context, o Owner) error

	// Write makes d durable together with its marker, in one atomic step as the readers of the sink see it, or
	// does nothing if the stored marker matches d.Marker in all but epoch and life. A marker of another life (see
	// Owner.Fenced) ends it with SINK_FENCED. The engine never calls it with an
	// empty result, except in complete mode. The sink borrows the records.
	Write(ctx context.Context, d Delivery) error

	// Close frees what is held. It is idempotent.
	Close() error
}

// Already reports whether stored says that d has been written: all but epoch and life match.
func (d Delivery) Already(stored *Marker) bool {
	return stored != nil && stored.matches(&d.Marker)
}
