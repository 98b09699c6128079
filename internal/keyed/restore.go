package keyed

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/invariant"
)

// Restore applies a base, which replaces all there is, or the changes after it: what frozen stores gave. Then it is as
// after a Freeze. After an error the store holds part of it.
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
	s.mark()
	return nil
}

// Fill puts rows after Restore of a base, none of whose keys the store has, nor the record twice: without a search, and
// without a way back. After an error the store holds part of them.
func (s *Store) Fill(rec arrow.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(!s.open, "a batch of the keyed store is open")
	if err := s.read(rec, true); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	defer s.close()
	const ahead = 16
	for r := range s.in.rows {
		if r+ahead < len(s.hashes) {
			s.ahead += s.firstCell(s.hashes[r+ahead])
		}
		if err := s.fill(r); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return nil
}

func (s *Store) fill(r int) error {
	slot := s.rows.alloc()
	if slot == noRow {
		return ErrFull
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
	s.table.insert(s.hashes[r], slot)
	s.live++
	s.link(slot)
	return nil
}
