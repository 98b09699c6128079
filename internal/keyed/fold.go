package keyed

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/decimal128"

	"github.com/tidemill/tidemill/internal/invariant"
)

// Merge says how a value column takes in a value. NULL leaves the other one as it is.
type Merge int

// The ways to merge. They give what DuckDB's aggregates give, also at the end of a type's range.
const (
	NoMerge   Merge = iota
	Sum             // of BIGINT and DECIMAL
	SumDigits       // of HUGEINT, which is kept as 38 digits
	Least           // also bool_and
	Greatest        // also bool_or
	BitAnd
	BitOr
	BitXor
)

// String returns the word for EXPLAIN.
func (m Merge) String() string {
	return [...]string{"none", "sum", "sum", "least", "greatest", "bitwise and", "bitwise or", "bitwise xor"}[m]
}

// RangeError says that a sum has left the range of its type, in the words of DuckDB.
type RangeError struct {
	Message string
	Cast    bool // the type of the column has no such value, as opposed to the type of the sum
}

// Error returns the message.
func (e *RangeError) Error() string { return e.Message }

// Fold puts the rows of rec, each merged with the row of its key if there is one; of rows with the same key each is
// merged with the one before. how has an entry for each value column, which must be of fixed width. Columns after those
// of the store are ignored. It returns how many rows the batch touched for the first time. After an error the batch must
// be rolled back.
func (s *Store) Fold(rec arrow.Record, how []Merge) (touched int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	if err := s.l.foldable(how); err != nil {
		return 0, err
	}
	if err := s.read(rec, true); err != nil {
		return 0, fmt.Errorf("fold rows: %w", err)
	}
	before := len(s.undo.slots)
	values := s.l.columns[s.l.keys:s.l.schema.NumFields()]
	for r := range s.in.rows {
		s.lookAhead(r)
		slot, fresh, err := s.findOrAdd(r)
		if err != nil {
			return 0, fmt.Errorf("fold rows: %w", err)
		}
		s.log(slot) // Touched returns it even if nothing changes
		if row := s.rows.row(slot); row[0]&flagLive != 0 {
			in := s.in.fixed[r*s.in.stride : (r+1)*s.in.stride]
			for i := range values {
				if err := values[i].merge(in, row, how[i]); err != nil {
					return 0, err
				}
			}
		}
		if err := s.put(slot, r, fresh); err != nil {
			return 0, fmt.Errorf("fold rows: %w", err)
		}
	}
	return len(s.undo.slots) - before, nil
}

// Touched returns the rows that the open batch has put or folded, as they are now, in the order of the first touch.
func (s *Store) Touched() []arrow.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records(s.touched(), s.l.schema)
}

func (s *Store) touched() []uint32 {
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	slots := make([]uint32, 0, len(s.undo.slots))
	for _, slot := range s.undo.slots {
		if s.rows.row(slot)[0]&flagLive != 0 {
			slots = append(slots, slot)
		}
	}
	return slots
}

// foldable checks that every value column can be merged as how says.
func (l *layout) foldable(how []Merge) error {
	values := l.columns[l.keys:l.schema.NumFields()]
	if len(how) != len(values) || l.time >= l.keys {
		return fmt.Errorf("fold rows: %d ways to merge for %d value columns, none of which may be the time", len(how),
			len(values))
	}
	for i := range values {
		c := &values[i]
		fit := c.width > 0 && c.shape.form == formFixed
		switch how[i] {
		case Sum:
			fit = fit && (c.shape.class == classInt && c.width == 8 || c.shape.class == classDecimal)
		case SumDigits:
			fit = fit && c.shape.class == classDecimal
		case Least, Greatest:
			fit = fit && c.shape.class != classFloat && c.shape.class != classInterval
		case BitAnd, BitOr, BitXor:
			fit = fit && (c.shape.class == classInt || c.shape.class == classUint || c.shape.class == classDecimal)
		default:
			fit = false
		}
		if !fit {
			return fmt.Errorf("fold rows: column %q can not be merged by %s", l.schema.Field(c.source).Name, how[i])
		}
	}
	return nil
}

// merge puts into a row of the input, which begins behind the flags, what it and the row of the store come to.
func (c *column) merge(in, row []byte, how Merge) error {
	bit, at := byte(1)<<(c.null%8), c.null/8
	if row[at]&bit != 0 {
		return nil
	}
	have, add := row[c.at:c.at+c.width], in[c.at-flagsBytes:c.at-flagsBytes+c.width]
	if in[at-flagsBytes]&bit != 0 {
		in[at-flagsBytes] &^= bit
		copy(add, have)
		return nil
	}
	switch how {
	case Sum, SumDigits:
		return c.sum(have, add, how)
	case Least:
		if compareFixed(have, add, &c.shape) < 0 {
			copy(add, have)
		}
	case Greatest:
		if compareFixed(have, add, &c.shape) > 0 {
			copy(add, have)
		}
	case BitAnd, BitOr, BitXor:
		mergeBits(add, have, how)
	case NoMerge:
	}
	return nil
}

func mergeBits(add, have []byte, how Merge) {
	for i := range add {
		switch how {
		case BitAnd:
			add[i] &= have[i]
		case BitOr:
			add[i] |= have[i]
		default:
			add[i] ^= have[i]
		}
	}
}

// sum adds have to add.
func (c *column) sum(have, add []byte, how Merge) error {
	le := binary.LittleEndian
	if c.width == 8 {
		a, b := int64(le.Uint64(have)), int64(le.Uint64(add))
		n := a + b
		if (n < a) != (b < 0) {
			return &RangeError{Cast: true, Message: fmt.Sprintf("Type INT128 with value %s can't be cast because the value "+
				"is out of range for the destination type INT64", new(big.Int).Add(big.NewInt(a), big.NewInt(b)))}
		}
		le.PutUint64(add, uint64(n))
		return nil
	}
	low, carry := bits.Add64(le.Uint64(have), le.Uint64(add), 0)
	a, b := int64(le.Uint64(have[8:])), int64(le.Uint64(add[8:]))
	high := a + b + int64(carry)
	if a < 0 == (b < 0) && high < 0 != (a < 0) {
		return &RangeError{Message: fmt.Sprintf("Overflow in HUGEINT addition: %s + %s", wide(have), wide(add))}
	}
	le.PutUint64(add, low)
	le.PutUint64(add[8:], uint64(high))
	if how == SumDigits && beyondDigits(high, low) {
		return &RangeError{Cast: true, Message: fmt.Sprintf("Could not cast value %s to DECIMAL(38,0)", wide(add))}
	}
	return nil
}

// beyondDigits reports whether a number has more than 38 digits.
func beyondDigits(high int64, low uint64) bool {
	if high == math.MinInt64 && low == 0 {
		return true // it has no absolute value
	}
	return !decimal128.New(high, low).FitsInPrecision(38)
}

// wide is the number of 16 bytes.
func wide(b []byte) *big.Int {
	return decimal128.New(int64(binary.LittleEndian.Uint64(b[8:])), binary.LittleEndian.Uint64(b)).BigInt()
}
