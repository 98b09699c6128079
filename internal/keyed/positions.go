package keyed

import (
	"errors"
	"unsafe"

	"github.com/tidemill/tidemill/internal/spill"
)

// Positions finds rows that are kept elsewhere by hashes of their keys: of each row it has its position and a hash of each key, of
// which rows may have the same. Rows are only added. It is no part of a state: it can be made again of the rows.
type Positions struct {
	memory *spill.Pool
	at     vector[int64]
	keys   []chains
}

// chains are rows by the hash of one key: those of one bucket are a list, from the last one added.
type chains struct {
	hashes  vector[uint64]
	next    vector[uint32] // of each row, the one before it in its bucket, from 1; 0 is none
	buckets vector[uint32] // the last row of each, likewise; as many as a power of two
}

// NewPositions returns an empty one for rows with so many keys. memory is nil for Go's heap.
func NewPositions(keys int, memory *spill.Pool) *Positions {
	p := &Positions{memory: memory, keys: make([]chains, keys)}
	for k := range p.keys {
		p.keys[k].buckets.kind = spill.Index
	}
	return p
}

// Len returns how many rows there are.
func (p *Positions) Len() int { return p.at.n }

// Add adds rows: their positions, and for each key their hashes. After an error nobody may use it but Close.
func (p *Positions) Add(at []int64, hashes [][]uint64) error {
	if p.at.n+len(at) > noRow-1 {
		return ErrFull
	}
	err := p.at.add(p.memory, at)
	for k := range p.keys {
		if err == nil {
			err = p.keys[k].add(p.memory, hashes[k])
		}
	}
	return err
}

func (c *chains) add(memory *spill.Pool, hashes []uint64) error {
	from, n := c.hashes.n, c.hashes.n+len(hashes)
	err := errors.Join(c.hashes.add(memory, hashes), c.next.reserve(memory, n))
	if err != nil {
		return err
	}
	c.next.n = n
	if n > len(c.buckets.all) {
		if err := c.buckets.reserve(memory, n); err != nil {
			return err
		}
		from = 0 // they are zero
	}
	mask := uint64(len(c.buckets.all) - 1)
	for i := from; i < n; i++ {
		if i%64 == 0 {
			memory.Trim()
		}
		b := &c.buckets.all[c.hashes.all[i]&mask]
		c.next.all[i], *b = *b, uint32(i+1)
	}
	return nil
}

// Find returns the numbers of the rows whose key has a hash, the last one first; not ok if it has looked at more rows than most.
func (p *Positions) Find(key int, hash uint64, most int) (rows []uint32, ok bool) {
	p.memory.Trim()
	c := &p.keys[key]
	if c.hashes.n == 0 {
		return nil, true
	}
	for i := c.buckets.all[hash&uint64(len(c.buckets.all)-1)]; i != 0; i = c.next.all[i-1] {
		if most--; most < 0 {
			return nil, false
		}
		if c.hashes.all[i-1] == hash {
			rows = append(rows, i-1)
		}
	}
	return rows, true
}

// At returns the position of a row.
func (p *Positions) At(row uint32) int64 { return p.at.all[row] }

// Hash returns the hash of a key of a row.
func (p *Positions) Hash(key int, row uint32) uint64 { return p.keys[key].hashes.all[row] }

// Bytes returns what it takes of memory.
func (p *Positions) Bytes() int64 {
	n := p.at.bytes()
	for i := range p.keys {
		c := &p.keys[i]
		n += c.hashes.bytes() + c.next.bytes() + c.buckets.bytes()
	}
	return n
}

// Close gives the memory back.
func (p *Positions) Close() {
	p.at.free(p.memory)
	for i := range p.keys {
		c := &p.keys[i]
		c.hashes.free(p.memory)
		c.next.free(p.memory)
		c.buckets.free(p.memory)
	}
}

// vector grows in the memory of a pool.
type vector[T int64 | uint64 | uint32] struct {
	all []T // a power of two
	n   int // of them are in use

	kind spill.Kind
}

const (
	vectorLeast = 1 << 10
	vectorPiece = 1 << 17 // is copied at a time, between which what is mapped of files is trimmed
)

// reserve makes room for n.
func (a *vector[T]) reserve(memory *spill.Pool, n int) error {
	if n <= len(a.all) {
		return nil
	}
	size := max(vectorLeast, len(a.all))
	for size < n {
		size *= 2
	}
	mem, err := memory.Alloc(size*int(unsafe.Sizeof(a.all[0])), a.kind)
	if err != nil {
		return err //nolint:wrapcheck // it says what it did
	}
	grown := vector[T]{all: unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(mem))), size), n: a.n, kind: a.kind}
	for from := 0; from < a.n; from += vectorPiece {
		memory.Trim()
		copy(grown.all[from:], a.all[from:min(from+vectorPiece, a.n)])
	}
	a.free(memory)
	*a = grown
	return nil
}

func (a *vector[T]) add(memory *spill.Pool, values []T) error {
	if err := a.reserve(memory, a.n+len(values)); err != nil {
		return err
	}
	copy(a.all[a.n:], values)
	a.n += len(values)
	return nil
}

func (a *vector[T]) bytes() int64 { return int64(len(a.all)) * int64(unsafe.Sizeof(*new(T))) }

func (a *vector[T]) free(memory *spill.Pool) {
	if len(a.all) > 0 {
		memory.Free(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(a.all))), a.bytes()), a.kind)
	}
	*a = vector[T]{kind: a.kind}
}
