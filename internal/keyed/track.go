package keyed

import (
	"math/bits"

	"github.com/tidemill/tidemill/internal/invariant"
)

// markDirty notes a change for the next Freeze. existed says that the key had a row before this change.
func (s *Store) markDirty(slot uint32, existed bool) {
	if !s.tracked || !s.dirty.add(slot) {
		return
	}
	s.changes++
	s.undo.dirtied = append(s.undo.dirtied, slot)
	if existed {
		s.born.drop(slot)
		return
	}
	s.born.add(slot)
}

// unmark takes the note back.
func (s *Store) unmark(slot uint32) {
	if s.dirty.drop(slot) {
		s.changes--
		s.born.drop(slot)
	}
}

// mark begins to count changes anew.
func (s *Store) mark() {
	s.dirty, s.born, s.changes, s.tracked = nil, nil, 0, true
}

// Forget stops to remember changes until the next Freeze, which has all rows then, and gives up the keys of deleted ones.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(!s.open.Load(), "a batch of the keyed store is open")
	s.forget()
	s.tidy()
}

func (s *Store) forget() {
	for at, word := range s.dirty {
		for ; word != 0; word &= word - 1 {
			s.pace(at)
			s.bury(uint32(at<<6 + bits.TrailingZeros64(word)))
		}
	}
	s.mark()
	s.tracked = false
	s.releaseBuried(len(s.buried))
}

// bury notes a row for release if it only remembers a key. A frozen store that still has to hand it over buries it then.
func (s *Store) bury(slot uint32) {
	if row := s.rows.row(slot); row[0]&(flagUsed|flagLive) == flagUsed {
		s.buried = append(s.buried, slot)
	}
}

const buriedLeast = 1 << 13 // rows that one batch releases at least, if there are any

// releaseBuried releases at most n of the rows that nothing needs any more. Those that are in use again, or are to be
// handed over, stay.
func (s *Store) releaseBuried(n int) {
	for ; n > 0 && len(s.buried) > 0; n-- {
		s.pace(n)
		slot := s.buried[len(s.buried)-1]
		s.buried = s.buried[:len(s.buried)-1]
		if !s.rows.inUse(slot) || s.dirty.has(slot) || s.frozen.wants(slot) {
			continue
		}
		if s.rows.row(slot)[0]&flagLive == 0 {
			s.release(slot)
		}
	}
	if len(s.buried) == 0 {
		s.buried = kept(s.buried, scratchMax)
	}
}

// limitChanges forgets changes that are more than all rows would be.
func (s *Store) limitChanges() {
	if s.changes > changesMin+2*s.live {
		s.forget()
	}
}
