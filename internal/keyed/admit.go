package keyed

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/invariant"
)

// Admit takes the rows of rec into a store whose one value column is a BIGINT of bits, and adds their bits to those of
// the rows of their keys. It returns the rows, each with the bits that its key did not have before, and whether there
// are any. Rows of one key in rec count one after the other. Bits must not be NULL. After an error the batch must be
// rolled back.
func (s *Store) Admit(rec arrow.Record) (fresh arrow.Record, some bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	if s.l.schema.NumFields() != s.l.keys+1 || s.l.schema.Field(s.l.keys).Type.ID() != arrow.INT64 {
		return nil, false, errors.New("admit rows: the store's values are no bits")
	}
	if err := s.read(rec, true); err != nil {
		return nil, false, fmt.Errorf("admit rows: %w", err)
	}
	bits := &s.l.columns[s.l.keys]
	b := array.NewInt64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(s.in.rows)
	for r := range s.in.rows {
		s.lookAhead(r)
		added, err := s.admit(r, bits)
		if err != nil {
			return nil, false, fmt.Errorf("admit rows: %w", err)
		}
		some = some || added != 0
		b.UnsafeAppend(int64(added))
	}
	masks := b.NewArray()
	defer masks.Release()
	columns := append([]arrow.Array(nil), rec.Columns()[:s.l.keys]...)
	return array.NewRecord(s.l.schema, append(columns, masks), rec.NumRows()), some, nil
}

// admit adds the bits of row r of the input to the row of its key, and returns those that are new there.
func (s *Store) admit(r int, bits *column) (added uint64, err error) {
	le := binary.LittleEndian
	in := s.in.fixed[r*s.in.stride+bits.at-flagsBytes:]
	added = le.Uint64(in)
	slot, fresh, err := s.findOrAdd(r)
	if err != nil {
		return 0, err
	}
	if row := s.rows.row(slot); row[0]&flagLive != 0 {
		have := le.Uint64(row[bits.at:])
		le.PutUint64(in, added|have)
		if added &^= have; added == 0 {
			return 0, nil
		}
	}
	return added, s.put(slot, r, fresh)
}
