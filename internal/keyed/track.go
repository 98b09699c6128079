package keyed

import (
	"fmt"
	"iter"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/invariant"
)

// markDirty notes a change for the next Mark.
func (s *Store) markDirty(slot uint32) {
	if row := s.rows.row(slot); s.tracked && row[0]&flagDirty == 0 {
		row[0] |= flagDirty
		s.dirty = append(s.dirty, slot)
	}
}

// Changes returns the rows that were put since the last Mark, as they are now, and the keys that have no row
// any more. ok is false if that is not known: before the first Mark, after Forget, and when there were so
// many changes that the store has stopped to remember them. Then All says what there is. It is called between
// batches, and changes nothing.
func (s *Store) Changes() (changed, deleted []arrow.Record, ok bool) {
	invariant.Check(!s.open, "a batch of the keyed store is open")
	if !s.tracked {
		return nil, nil, false
	}
	s.pruneDirty()
	var live, gone []uint32
	for _, slot := range s.dirty {
		if s.rows.row(slot)[0]&flagLive != 0 {
			live = append(live, slot)
		} else {
			gone = append(gone, slot)
		}
	}
	keys := arrow.NewSchema(s.l.schema.Fields()[:s.l.keys], nil)
	return s.records(live, s.l.schema), s.records(gone, keys), true
}

// Mark begins to count changes anew: what Changes or All has returned is kept elsewhere now. It is called
// between batches.
func (s *Store) Mark() {
	invariant.Check(!s.open, "a batch of the keyed store is open")
	s.dropChanges()
	s.tracked = true
}

// Forget stops to remember changes until the next Mark, and gives up the keys of deleted rows.
func (s *Store) Forget() {
	invariant.Check(!s.open, "a batch of the keyed store is open")
	s.dropChanges()
	s.tracked = false
}

func (s *Store) dropChanges() {
	s.pruneDirty()
	for _, slot := range s.dirty {
		row := s.rows.row(slot)
		row[0] &^= flagDirty | flagBorn
		if row[0]&flagLive == 0 {
			s.release(slot)
		}
	}
	s.dirty = kept(s.dirty)
	s.tidy()
}

// pruneDirty removes the entries of rows that are free, and second entries.
func (s *Store) pruneDirty() {
	out := s.dirty[:0]
	for _, slot := range s.dirty {
		if !s.rows.inUse(slot) {
			continue
		}
		if row := s.rows.row(slot); row[0]&(flagDirty|flagSeen) == flagDirty {
			row[0] |= flagSeen
			out = append(out, slot)
		}
	}
	s.dirty = out
	s.unsee(out)
}

// limitChanges forgets changes that are more than all rows would be.
func (s *Store) limitChanges() {
	if len(s.dirty) <= changesMin+2*s.live {
		return
	}
	if s.pruneDirty(); len(s.dirty) > changesMin+2*s.live {
		s.Forget()
	}
}

// All returns every row, a record at a time; each is the caller's to release. The order depends on what was
// put and deleted, and on nothing else. The store must not change meanwhile.
func (s *Store) All() iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		slots := make([]uint32, 0, min(recordRows, s.live))
		more := true
		emit := func() {
			recs := s.records(slots, s.l.schema)
			slots = slots[:0]
			for _, rec := range recs {
				if more {
					more = yield(rec)
				} else {
					rec.Release()
				}
			}
		}
		s.rows.each(func(slot uint32, flags byte) bool {
			if flags&flagLive != 0 {
				slots = append(slots, slot)
			}
			if len(slots) == recordRows {
				emit()
			}
			return more
		})
		if more {
			emit()
		}
	}
}

// Restore applies a base, which replaces all there is, or the changes after it: what All and Changes
// returned. Then it is as after a Mark. After an error the store holds part of it.
func (s *Store) Restore(base bool, changed, deleted []arrow.Record) error {
	invariant.Check(!s.open, "a batch of the keyed store is open")
	if base {
		s.reset()
	}
	s.Forget() // changes between two calls are not worth to be noted
	for _, rec := range deleted {
		s.Begin()
		if _, err := s.Delete(rec); err != nil {
			s.Rollback()
			return fmt.Errorf("restore: %w", err)
		}
		s.Commit()
	}
	for _, rec := range changed {
		s.Begin()
		if err := s.Put(rec); err != nil {
			s.Rollback()
			return fmt.Errorf("restore: %w", err)
		}
		s.Commit()
	}
	s.Mark()
	return nil
}
