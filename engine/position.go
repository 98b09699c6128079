package engine

import (
	"maps"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/stream"
)

// position is where batches stand: everything the next Intent is made from. It is a value: what moves it makes another
// one, so that a batch may be planned from where the one before it leads while that one is still delivered.
type position struct {
	next       int64
	offsets    map[string]stream.Offset
	identities map[string]string
	watermark  *int64 // wm(next)
	evicted    *int64 // wm(next-1): what the last executed batch evicted with
	watermarks map[string]int64
}

func newPosition() position {
	return position{offsets: map[string]stream.Offset{}, identities: map[string]string{}, watermarks: map[string]int64{}}
}

// after is the position behind a batch that left these watermarks.
func (p position) after(in checkpoint.Intent, watermark *int64, watermarks map[string]int64) position {
	to := position{next: in.Batch + 1, offsets: maps.Clone(p.offsets), identities: maps.Clone(p.identities),
		watermark: watermark, evicted: in.Watermark, watermarks: watermarks}
	for name, rng := range in.Sources {
		if in.Slot == nil { // a slot reads all of history, and so does the next one
			to.offsets[name] = rng.To
		}
		to.identities[name] = rng.Identity
	}
	return to
}

// ledger is what has come of the committed batches: everything the next Commit goes on from.
type ledger struct {
	delivered map[string]stream.Marker
	totals    checkpoint.Totals
	inexact   bool
	began     time.Time // when the last batch began, for the input rate
}

func newLedger(now time.Time) ledger {
	return ledger{delivered: map[string]stream.Marker{}, began: now}
}

// enter takes a Commit in.
func (l *ledger) enter(c checkpoint.Commit) {
	l.totals, l.inexact = c.Totals, c.Inexact
	maps.Copy(l.delivered, c.Delivered)
}
