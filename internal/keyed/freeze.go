package keyed

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/invariant"
	"github.com/tidemill/tidemill/internal/spill"
)

// frozenRows is how many rows are handed over at once at most: what a batch may have to wait for.
const frozenRows = 1 << 13

// A batch comes first, and there may be no more cores than it has use for: while one is open, the reader rests so many times
// as long as it worked. A rest that is due is put off until it is worth a timer, and what the disk took of the work counts no
// more than the longest rest. All rests together are bounded too: a recovery runs again what was done since a Frozen that had
// not been read to its end.
const (
	frozenShare   = 3
	frozenRest    = 4 * time.Millisecond
	frozenRestMax = 20 * time.Millisecond
	frozenRestAll = 5 * time.Second
)

// A Frozen is a store as it was at one moment between two batches, or what had changed by then since the moment before.
// One other goroutine reads it while batches go on: a row that a batch is about to change is copied first, unless it
// has been handed over. Rows is read first, then Gone, and Close lets go of it in every case.
type Frozen struct {
	s       *Store
	base    bool
	empty   bool
	pending rowSet    // rows to hand over; guarded by s.mu
	most    int       // rows to hand over at once, a multiple of 64
	worked  time.Time // when the last rows were handed over
	owed    time.Duration
	rest    time.Duration // that rows which are handed over at once earn at most
	next    int           // words of pending before this one are empty; guarded by s.mu
	before  *Store        // rows as they were before they changed, and keys that are gone; guarded by s.mu while s.frozen is this
	puts    []uint32
	gone    []uint32
}

// Freeze begins a Frozen and counts changes anew. It has all rows if base is set or the changes are not known: at first,
// after Forget, and when there were so many that the store has stopped to remember them. It is called between batches,
// and costs a bit for each row of a base, and nothing that follows the rows otherwise. The one before must have been closed.
func (s *Store) Freeze(base bool) *Frozen {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(!s.open.Load(), "a batch of the keyed store is open")
	invariant.Check(s.frozen == nil, "the keyed store is frozen")
	f := &Frozen{s: s, most: frozenRows, base: base || !s.tracked, before: &Store{l: s.l, memory: s.memory,
		rows:  rows{width: s.l.rowBytes, pool: s.memory, kind: spill.Copies},
		arena: newArena(s.arena.limit, s.memory, spill.Copies)}}
	f.pending, f.empty = s.dirty, f.count() == 0
	if f.base {
		f.pending = rowsUpTo(uint32(len(s.rows.chunks)) << chunkBits)
	}
	f.rest = min(frozenRestMax, frozenRestAll/time.Duration(f.count()/frozenRows+1))
	s.mark()
	s.frozen = f
	return f
}

// count is how many rows there are to hand over, and keys that are gone.
func (f *Frozen) count() int {
	if f.base {
		return f.s.live
	}
	return f.s.changes
}

// Base reports that it has all rows.
func (f *Frozen) Base() bool { return f.base }

// Empty reports that it has no row and no key.
func (f *Frozen) Empty() bool { return f.empty }

// Rows returns the rows, each as it was, a record at a time for the caller to release.
func (f *Frozen) Rows() iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		for recs := f.some(); recs != nil; recs = f.some() {
			if !each(recs, yield) {
				return
			}
		}
		for n := range (len(f.puts) + frozenRows - 1) / frozenRows {
			some := f.puts[n*frozenRows : min(len(f.puts), (n+1)*frozenRows)]
			if !each(f.before.records(some, f.s.l.schema), yield) {
				return
			}
		}
	}
}

// Gone returns the keys that had no row any more, as Rows returns rows.
func (f *Frozen) Gone() iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		keys := arrow.NewSchema(f.s.l.schema.Fields()[:f.s.l.keys], nil)
		each(f.before.records(f.gone, keys), yield)
	}
}

// each yields records as long as they are wanted, and releases the others.
func each(recs []arrow.Record, yield func(arrow.Record) bool) bool {
	more := true
	for _, rec := range recs {
		if !more {
			rec.Release()
			continue
		}
		more = yield(rec)
	}
	return more
}

// Close lets go of what was not read.
func (f *Frozen) Close() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.end()
	if f.before != nil {
		f.before.rows.release()
		f.before.arena.release()
	}
	f.before, f.puts, f.gone = nil, nil, nil
}

// end lets batches change rows without a copy. Keys that were not handed over are forgotten.
func (f *Frozen) end() {
	if f.s.frozen != f {
		return
	}
	f.s.frozen = nil
	for at, word := range f.pending {
		for ; word != 0; word &= word - 1 {
			if slot := uint32(at<<6 + bits.TrailingZeros64(word)); f.s.rows.inUse(slot) {
				f.s.bury(slot)
			}
		}
	}
	f.pending = nil
}

// turn takes the lock, and lets the open batch go first.
func (f *Frozen) turn() {
	f.rested(f.s.turns.begin(f.rests()))
	f.worked = time.Now()
}

// rests returns how long the reader rests now.
func (f *Frozen) rests() time.Duration {
	if !f.s.open.Load() || f.worked.IsZero() {
		f.owed = 0
		return 0
	}
	f.owed += min(frozenShare*time.Since(f.worked), f.rest)
	if f.owed < frozenRest {
		return 0
	}
	return f.owed
}

// rested counts what it rested in truth, with all that it waited for a core and the lock.
func (f *Frozen) rested(took time.Duration) { f.owed = max(f.owed-took, -frozenRestMax) }

// some hands the next rows over that are still as they were, or returns nil.
func (f *Frozen) some() []arrow.Record {
	f.turn()
	defer f.s.turns.end()
	return f.more()
}

// more is some with the lock held.
func (f *Frozen) more() []arrow.Record {
	slots := make([]uint32, 0, f.most)
	for ; f.next < len(f.pending) && len(slots) <= f.most-64; f.next++ {
		word := f.pending[f.next]
		f.pending[f.next] = 0
		for ; word != 0; word &= word - 1 {
			slots = f.take(slots, uint32(f.next<<6+bits.TrailingZeros64(word)))
		}
	}
	if len(slots) == 0 {
		f.end()
		return nil
	}
	return f.s.records(slots, f.s.l.schema)
}

// take adds a row to those that are handed over now, or keeps its key if that is all there is.
func (f *Frozen) take(slots []uint32, slot uint32) []uint32 {
	if !f.s.rows.inUse(slot) {
		return slots
	}
	row := f.s.rows.row(slot)
	if row[0]&flagLive != 0 {
		return append(slots, slot)
	}
	f.keep(row)
	f.s.bury(slot)
	return slots
}

// wants reports that a row is still to be handed over.
func (f *Frozen) wants(slot uint32) bool { return f != nil && f.pending.has(slot) }

// save keeps a row that a batch is about to change, if it is still to be handed over.
func (f *Frozen) save(slot uint32, row []byte) {
	if f != nil && f.pending.drop(slot) && row[0]&flagUsed != 0 {
		f.keep(row)
	}
}

// keep copies a row, or of a base only a live one.
func (f *Frozen) keep(row []byte) {
	live := row[0]&flagLive != 0
	if !live && f.base {
		return
	}
	b := f.before
	slot, err := b.rows.alloc()
	invariant.Check(err == nil, "the rows that a frozen store has to keep are too many")
	copied := b.rows.row(slot)
	copy(copied, row)
	if f.s.l.blobAt >= 0 {
		f.keepBlob(slot, copied)
	}
	if live {
		f.puts = append(f.puts, slot)
		return
	}
	f.gone = append(f.gone, slot)
}

func (f *Frozen) keepBlob(slot uint32, row []byte) {
	a, header := &f.s.arena, f.s.l.header
	ref, keyEnd := f.s.ref(row), 0
	if header > 8 {
		keyEnd = int(binary.LittleEndian.Uint32(a.blob(ref)[8:]))
	}
	copied, err := f.before.arena.write(slot, header, keyEnd, a.payload(ref, header))
	invariant.Check(err == nil, "the values that a frozen store has to keep are too many")
	f.before.setRef(row, copied)
}
