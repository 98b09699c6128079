package keyed

import (
	"fmt"
	"math/bits"
	"runtime"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/invariant"
)

// Restore applies a base, which replaces all there is, or the changes after it: what frozen stores gave. Then it is as
// after a Freeze. After an error the store holds part of it.
func (s *Store) Restore(base bool, changed, deleted []arrow.Record) error {
	invariant.Check(!s.open.Load(), "a batch of the keyed store is open")
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
	s.mark()
	return nil
}

// Fill puts rows after Restore of a base, none of whose keys the store has, nor the record twice: without a search, and
// without a way back. Their cells are only noted, and come into the hash table with what follows. After an error the store
// holds part of them.
func (s *Store) Fill(rec arrow.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(!s.open.Load(), "a batch of the keyed store is open")
	if err := s.read(rec, true); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	defer s.close()
	for r := range s.in.rows {
		s.pace(r)
		if err := s.fill(r); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

func (s *Store) fill(r int) error {
	if s.unindexed == nil {
		s.unindexed, s.noted = new([1 << partBits][]uint64), 0
	}
	n := s.hashes[r] >> (64 - partBits)
	part := &s.unindexed[n]
	if err := s.table.reserve(&s.table.parts[n], len(*part)+1); err != nil {
		return err
	}
	slot, err := s.rows.alloc()
	if err != nil {
		return err
	}
	row := s.rows.row(slot)
	clear(row)
	row[0] = flagUsed | flagLive
	copy(row[flagsBytes:], s.in.fixed[r*s.in.stride:(r+1)*s.in.stride])
	if s.l.blobAt >= 0 {
		ref, err := s.arena.write(slot, s.l.header, s.in.keyEnds[r]-s.in.start(r), s.in.blob(r))
		if err != nil {
			return err
		}
		s.setRef(row, ref)
	}
	*part = append(*part, cellOf(s.hashes[r], slot))
	s.live++
	s.link(slot)
	if s.noted++; s.noted == unindexedMax {
		s.index()
	}
	return nil
}

// unindexedMax is how many cells are noted before they come into the hash table: 8 bytes each that no limit counts.
const unindexedMax = 4 << 20

// unindexedBytes is the memory of cells that are not in the hash table yet.
func (s *Store) unindexedBytes() int {
	n := 0
	if s.unindexed != nil {
		for _, cells := range s.unindexed {
			n += 8 * cap(cells)
		}
	}
	return n
}

// index puts the cells of filled rows into the hash table: part after part, so that one is in the cache while it is
// filled, and on all cores, since no two parts have anything in common.
func (s *Store) index() {
	if s.unindexed == nil {
		return
	}
	var working sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(s.unindexed))
	for w := range workers {
		working.Go(func() {
			for i := w; i < len(s.unindexed); i += workers {
				s.table.parts[i].addAll(s.unindexed[i])
				s.unindexed[i] = nil
			}
		})
	}
	working.Wait()
	s.unindexed = nil
}

// reserve gives a part room for so many more rows.
func (t *table) reserve(p *part, rows int) error {
	if need := ((p.used+rows)*16 + 12) / 13; need > len(p.cells) {
		return t.resize(p, max(partMin, 1<<bits.Len(uint(need-1))))
	}
	return nil
}

// addAll adds rows whose keys are not there, where reserve has made room.
func (p *part) addAll(cells []uint64) {
	for _, cell := range cells {
		p.add(cell)
	}
	p.used += len(cells)
}
