package keyed

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/invariant"
	"github.com/tidemill/tidemill/internal/spill"
)

// Options describes the rows of a Store.
type Options struct {
	Schema *arrow.Schema // of the rows: key columns first, then values
	Keys   int           // how many columns are the key; 0 makes a store of at most one row
	Time   string        // the BIGINT or TIMESTAMP column that rows expire by, of key or values; "" is none
	Memory *spill.Pool   // where rows, texts and the index lie; nil for Go's heap
}

// A Store is a table of rows with a unique key, in memory. One goroutine uses it, and another one may read what Freeze
// returned meanwhile. Rows change between Begin and Commit or Rollback only; Lookup and Expired see the changes of the
// open batch. Records that it is given are borrowed; those that it returns are the caller's to release, have at most
// 65,536 rows, and do not change.
type Store struct {
	mu    sync.Mutex // held by every method that reads or changes rows, for Frozen
	turns turns      // of mu, for Frozen
	l     *layout
	rows  rows
	table table
	arena arena
	times times
	seed  maphash.Seed
	live  int

	memory  *spill.Pool
	open    atomic.Bool // a batch is; changed under mu
	undo    undo
	tracked bool     // dirty has what changed since the last Freeze
	dirty   rowSet   // rows that did
	born    rowSet   // of these, rows whose key was not there then
	changes int      // rows in dirty
	buried  []uint32 // rows that may only remember a key that nobody needs, for release
	frozen  *Frozen  // what is being read; nil for nothing

	unindexed *[1 << partBits][]uint64 // cells of rows that Fill has put, by part; nil for none
	noted     int                      // how many

	in     encoded
	hashes []uint64
	small  int    // batches, one after another, that used little of in
	ahead  uint64 // keeps the compiler from dropping reads that only fill the cache
}

// undo is what the open batch changed: the rows as they were before.
type undo struct {
	slots []uint32
	rows  []byte // as many rows
	live  int

	dirtied []uint32 // rows that the batch has put in Store.dirty

	written  []uint32 // blobs that the batch made
	replaced []uint32 // blobs that no row refers to if it commits
}

// New returns an empty store, or says which column it can not keep.
func New(o Options) (*Store, error) {
	l, err := newLayout(o)
	if err != nil {
		return nil, err
	}
	s := &Store{l: l, seed: maphash.MakeSeed(), memory: o.Memory, rows: rows{width: l.rowBytes, pool: o.Memory},
		table: table{pool: o.Memory}, arena: newArena(pageBytes, o.Memory, spill.Rows)}
	s.turns.guard(&s.mu)
	s.reset()
	return s, nil
}

// Close gives the store's memory back. Nobody may use it any more, and what it returned by Freeze must have been closed.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.frozen == nil, "the keyed store is frozen")
	s.reset()
}

func (s *Store) reset() {
	s.rows.release()
	s.table.release()
	s.arena.release()
	s.times = times{first: map[int64]uint32{}}
	s.live, s.undo, s.buried, s.unindexed = 0, undo{}, nil, nil
	s.mark()
	s.tracked = false
}

// Schema returns the schema of the rows.
func (s *Store) Schema() *arrow.Schema { return s.l.schema }

// Len returns the number of rows.
func (s *Store) Len() int { return s.live }

// Bytes returns the memory that the store holds, including what it keeps free for reuse.
func (s *Store) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(s.rows.bytes + s.table.bytes + s.arena.bytes + s.times.bytes() +
		8*(cap(s.dirty)+cap(s.born)) + cap(s.undo.rows) +
		s.unindexedBytes() + 4*(cap(s.buried)+cap(s.undo.dirtied)+cap(s.undo.slots)+cap(s.undo.written)+cap(s.undo.replaced)) +
		cap(s.in.fixed) + cap(s.in.blobs) + 8*(cap(s.in.keyEnds)+cap(s.in.ends)+cap(s.hashes)))
}

// Begin opens a batch.
func (s *Store) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(!s.open.Load(), "a batch of the keyed store is open")
	s.index()
	s.open.Store(true)
	s.undo.live = s.live
}

// Lookup returns the rows whose keys are in the first columns of rec, each once, in the order of their first
// occurrence there. Further columns are ignored.
func (s *Store) Lookup(rec arrow.Record) ([]arrow.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index()
	if err := s.read(rec, false); err != nil {
		return nil, fmt.Errorf("look up keys: %w", err)
	}
	slots := make([]uint32, 0, s.in.rows)
	for r := range s.in.rows {
		s.lookAhead(r)
		slot, ok := s.find(r)
		if !ok {
			continue
		}
		if row := s.rows.row(slot); row[0]&(flagLive|flagSeen) == flagLive {
			row[0] |= flagSeen
			slots = append(slots, slot)
		}
	}
	s.unsee(slots)
	return s.records(slots, s.l.schema), nil
}

// pace bounds what is mapped of the files that hold what was spilled, and how long the reader of what is frozen waits. Loops over
// rows call it for each, between two of them: the reader may add to buried there, and take frozen away.
func (s *Store) pace(i int) {
	const paceRows = 64 // a row touches three places at most, and the kernel maps up to 64 KiB at each
	if i%paceRows == 0 {
		s.turns.offer()
		s.memory.Trim()
	}
}

func (s *Store) unsee(slots []uint32) {
	for i, slot := range slots {
		s.pace(i)
		s.rows.row(slot)[0] &^= flagSeen
	}
}

// Put inserts the rows of rec, each in the place of the row of its key if there is one; of rows with the same
// key the last wins. A row is replaced whole: its key is shown as it was put last. After an error the batch
// must be rolled back.
func (s *Store) Put(rec arrow.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	if err := s.read(rec, true); err != nil {
		return fmt.Errorf("put rows: %w", err)
	}
	for r := range s.in.rows {
		s.lookAhead(r)
		slot, fresh, err := s.findOrAdd(r)
		if err != nil {
			return fmt.Errorf("put rows: %w", err)
		}
		if err := s.put(slot, r, fresh); err != nil {
			return fmt.Errorf("put rows: %w", err)
		}
	}
	return nil
}

// findOrAdd returns the row of the key of row r of the input: a fresh one, which put makes a part of the store, if there is
// none.
func (s *Store) findOrAdd(r int) (slot uint32, fresh bool, err error) {
	if slot, ok := s.find(r); ok {
		return slot, false, nil
	}
	if err := s.table.ready(s.hashes[r]); err != nil {
		return noRow, false, err
	}
	if slot, err = s.rows.alloc(); err != nil {
		return noRow, false, err
	}
	s.log(slot)
	row := s.rows.row(slot)
	clear(row)
	row[0] = flagTouched
	return slot, true, nil
}

// put writes row r of the input to a row, which is new or has the same key.
func (s *Store) put(slot uint32, r int, fresh bool) error {
	row := s.rows.row(slot)
	body := s.in.fixed[r*s.in.stride : (r+1)*s.in.stride]
	sameBlob := s.l.blobAt < 0 ||
		!fresh && string(s.arena.payload(s.ref(row), s.l.header)) == string(s.in.blob(r))
	live := row[0]&flagLive != 0
	if live && sameBlob && string(row[flagsBytes:s.l.bodyEnd]) == string(body) {
		return nil
	}
	s.log(slot)
	if !sameBlob {
		if err := s.putBlob(slot, r, fresh); err != nil {
			return err
		}
	}
	if live {
		s.live--
		s.unlink(slot)
	}
	copy(row[flagsBytes:], body)
	if fresh {
		row[0] |= flagUsed
		s.table.insert(s.hashes[r], slot)
	}
	s.live++
	row[0] |= flagLive
	s.link(slot)
	s.markDirty(slot, live)
	return nil
}

func (s *Store) putBlob(slot uint32, r int, fresh bool) error {
	ref, err := s.arena.write(slot, s.l.header, s.in.keyEnds[r]-s.in.start(r), s.in.blob(r))
	if err != nil {
		return err
	}
	row := s.rows.row(slot)
	if !fresh {
		s.undo.replaced = append(s.undo.replaced, s.ref(row))
	}
	s.undo.written = append(s.undo.written, ref)
	s.setRef(row, ref)
	return nil
}

// Delete removes the rows whose keys are in the first columns of rec, and returns how many there were.
func (s *Store) Delete(rec arrow.Record) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	if err := s.read(rec, false); err != nil {
		return 0, fmt.Errorf("delete keys: %w", err)
	}
	before := s.live
	for r := range s.in.rows {
		s.lookAhead(r)
		if slot, ok := s.find(r); ok && s.rows.row(slot)[0]&flagLive != 0 {
			s.remove(slot)
		}
	}
	return before - s.live, nil
}

// remove takes a live row out. It stays where it is until Commit, or if it is tracked until a
// Freeze has handed its key over.
func (s *Store) remove(slot uint32) {
	s.log(slot)
	s.unlink(slot)
	s.rows.row(slot)[0] &^= flagLive
	s.live--
	s.markDirty(slot, true)
}

// Expired returns the rows whose time is upTo or before, in the order of time, then key. NULL never expires.
func (s *Store) Expired(upTo int64) []arrow.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records(s.expired(upTo), s.l.schema)
}

// Expire returns what Expired does, and removes it.
func (s *Store) Expire(upTo int64) []arrow.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	slots := s.expired(upTo)
	out := s.records(slots, s.l.schema)
	for i, slot := range slots {
		s.pace(i)
		s.remove(slot)
	}
	s.times.forget(upTo)
	return out
}

// read encodes a record and hashes its keys.
func (s *Store) read(rec arrow.Record, all bool) error {
	if err := s.l.encode(&s.in, rec, all); err != nil {
		return err
	}
	s.hashKeys()
	return nil
}

func (s *Store) hashKeys() {
	s.hashes = s.hashes[:0]
	for r := range s.in.rows {
		fixed, blob := s.in.key(r, s.l)
		s.hashes = append(s.hashes, s.hash(fixed, blob))
	}
}

func (s *Store) hash(fixed, blob []byte) uint64 {
	h := maphash.Bytes(s.seed, fixed)
	if len(s.l.varKeys) > 0 {
		h = bits.RotateLeft64(h, 29) * 0x9E3779B97F4A7C15
		h ^= maphash.Bytes(s.seed, blob)
	}
	return h
}

// find returns the row with the key of row r of the input.
func (s *Store) find(r int) (slot uint32, ok bool) {
	p := s.table.part(s.hashes[r])
	if len(p.cells) == 0 {
		return 0, false
	}
	fixed, blob := s.in.key(r, s.l)
	mask := uint32(len(p.cells) - 1)
	tag := uint32(s.hashes[r])
	for i := tag & mask; p.cells[i] != 0; i = (i + 1) & mask {
		if uint32(p.cells[i]>>32) != tag {
			continue
		}
		slot := uint32(p.cells[i]) - 1
		row := s.rows.row(slot)
		if string(row[flagsBytes:s.l.keyEnd]) == string(fixed) &&
			(len(s.l.varKeys) == 0 || string(s.blobKey(row)) == string(blob)) {
			return slot, true
		}
	}
	return 0, false
}

// aheadRows is how many rows lookAhead does at once. What it reads of them has to stay in the nearest cache.
const aheadRows = 64

// lookAhead touches what row r of the input and those after it will need, in short loops whose cache misses overlap: the loop
// that uses it does too much with each row for that. It is called for each row in order.
func (s *Store) lookAhead(r int) {
	s.pace(r)
	if r%aheadRows != 0 {
		return
	}
	var cells [aheadRows]uint64
	hashes := s.hashes[r:min(r+aheadRows, len(s.hashes))]
	for i, hash := range hashes {
		cells[i] = s.table.cell(hash)
	}
	for _, c := range cells[:len(hashes)] {
		if c != 0 {
			// A page of a file that is written first is mapped alone and once. One that is read first comes with those around it,
			// which have to be let go again, and a second fault follows when the row is changed, or marked as seen.
			s.rows.row(uint32(c) - 1)[0] |= flagUsed
		}
	}
	if s.l.blobAt < 0 {
		return
	}
	sum := uint64(0)
	for _, c := range cells[:len(hashes)] {
		if c != 0 {
			sum += uint64(s.arena.blob(s.ref(s.rows.row(uint32(c) - 1)))[0])
		}
	}
	s.ahead += sum
}

func (s *Store) ref(row []byte) uint32 { return binary.LittleEndian.Uint32(row[s.l.blobAt:]) }

func (s *Store) setRef(row []byte, ref uint32) { binary.LittleEndian.PutUint32(row[s.l.blobAt:], ref) }

// blobKey returns the part of the key that is in the arena.
func (s *Store) blobKey(row []byte) []byte {
	if len(s.l.varKeys) == 0 {
		return nil
	}
	b := s.arena.blob(s.ref(row))
	end := binary.LittleEndian.Uint32(b[4*(s.l.header/4-1):])
	return b[s.l.header : s.l.header+int(end)]
}

func (e *encoded) start(r int) int {
	if r == 0 {
		return 0
	}
	return e.ends[r-1]
}

// key returns the key of a row: the fixed part, and what goes to the arena.
func (e *encoded) key(r int, l *layout) (fixed, blob []byte) {
	fixed = e.fixed[r*e.stride : r*e.stride+l.keyEnd-flagsBytes]
	if len(l.varKeys) > 0 {
		blob = e.blobs[e.start(r):e.keyEnds[r]]
	}
	return fixed, blob
}

// blob returns all of a row that goes to the arena.
func (e *encoded) blob(r int) []byte { return e.blobs[e.start(r):e.ends[r]] }
