package keyed

import "github.com/tidemill/tidemill/internal/invariant"

const (
	scratchMax = 8 << 20 // entries of a buffer that is kept for the next batch
	smallMax   = 1 << 16 // if so many have used less than a sixteenth of theirs
	smallTimes = 32
	changesMin = 1 << 16 // changes are forgotten if there are more than this and twice the rows
)

// log remembers a row as it is before the batch touches it.
func (s *Store) log(slot uint32) {
	row := s.rows.row(slot)
	if row[0]&flagTouched != 0 {
		return
	}
	s.frozen.save(slot, row)
	s.undo.slots = append(s.undo.slots, slot)
	s.undo.rows = append(s.undo.rows, row...)
	row[0] |= flagTouched
}

// Commit makes the changes of the batch final.
func (s *Store) Commit() {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	for _, ref := range s.undo.replaced {
		s.arena.free(ref, s.l.header)
	}
	for i, slot := range s.undo.slots {
		s.pace(i)
		row := s.rows.row(slot)
		row[0] &^= flagTouched
		if row[0]&flagLive == 0 && (!s.tracked || s.born.has(slot)) {
			s.release(slot)
		}
	}
	s.close()
	s.limitChanges()
	s.releaseBuried(max(buriedLeast, len(s.buried)/16))
	s.tidy()
}

// release gives up a row that is not live.
func (s *Store) release(slot uint32) {
	row := s.rows.row(slot)
	s.table.remove(s.hash(row[flagsBytes:s.l.keyEnd], s.blobKey(row)), slot)
	if s.l.blobAt >= 0 {
		s.arena.free(s.ref(row), s.l.header)
	}
	s.rows.free(slot)
	s.unmark(slot)
}

// Rollback undoes everything since Begin. The order of rows is as it was, too.
func (s *Store) Rollback() {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	width := s.l.rowBytes
	for i := len(s.undo.slots) - 1; i >= 0; i-- {
		s.pace(i)
		slot := s.undo.slots[i]
		row := s.rows.row(slot)
		before := s.undo.rows[i*width : (i+1)*width]
		if row[0]&flagLive != 0 {
			s.unlink(slot)
		}
		if row[0]&flagUsed > before[0]&flagUsed {
			s.table.remove(s.hash(row[flagsBytes:s.l.keyEnd], s.blobKey(row)), slot)
		}
		copy(row, before)
		switch {
		case before[0]&flagLive != 0:
			s.link(slot)
		case before[0]&flagUsed == 0:
			s.rows.undoAlloc(slot)
		}
	}
	for _, ref := range s.undo.written {
		s.arena.free(ref, s.l.header)
	}
	s.live = s.undo.live
	for _, slot := range s.undo.dirtied {
		s.unmark(slot)
	}
	s.close()
	s.tidy()
}

// close ends the batch, and keeps its buffers for the next one unless they are far too large.
func (s *Store) close() {
	most := scratchMax
	if s.small++; 16*len(s.in.fixed) >= cap(s.in.fixed) {
		s.small = 0
	}
	if s.small == smallTimes {
		most, s.small = smallMax, 0
	}
	u := &s.undo
	u.slots, u.rows = kept(u.slots, most), kept(u.rows, most)
	u.written, u.replaced, u.dirtied = kept(u.written, most), kept(u.replaced, most), kept(u.dirtied, most)
	s.in = encoded{fixed: kept(s.in.fixed, most), blobs: kept(s.in.blobs, most), keyEnds: kept(s.in.keyEnds, most),
		ends: kept(s.in.ends, most)}
	s.hashes = kept(s.hashes, most)
	s.open.Store(false)
}

// tidy does the work that keeps the store small.
func (s *Store) tidy() {
	s.compact()
	s.times.tidy()
}

// kept returns an empty buffer for the next batch, but not one of more than so many entries, which a large batch has made.
func kept[T any](buf []T, most int) []T {
	if cap(buf) > most {
		return nil
	}
	return buf[:0]
}
