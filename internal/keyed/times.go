package keyed

import (
	"encoding/binary"
	"math"
)

// times finds the rows of a time. The rows of one time are a list, linked both ways through the rows
// themselves, so that a row leaves it without a search and nothing stale remains.
type times struct {
	first map[int64]uint32 // a row of the time, plus one; 0 is none
	heap  []int64          // the keys of first, the least on top
	empty int              // entries of first without a row
	peak  int              // most entries that the map has held since it was made
}

const timeBytes = 8 + 8 + 16 // of an entry: heap, key and value of the map with the room it keeps

func (t *times) bytes() int { return timeBytes * t.peak }

func (t *times) push(time int64) {
	t.heap = append(t.heap, time)
	for i := len(t.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if t.heap[up] <= t.heap[i] {
			return
		}
		t.heap[up], t.heap[i] = t.heap[i], t.heap[up]
		i = up
	}
}

func (t *times) pop() {
	last := len(t.heap) - 1
	t.heap[0] = t.heap[last]
	t.heap = t.heap[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if t.heap[child] < t.heap[least] {
				least = child
			}
		}
		if least == i {
			return
		}
		t.heap[least], t.heap[i] = t.heap[i], t.heap[least]
		i = least
	}
}

// upTo returns the times that are not later, in no order.
func (t *times) upTo(limit int64) []int64 {
	var out []int64
	for todo := []int{0}; len(todo) > 0; {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if i < len(t.heap) && t.heap[i] <= limit {
			out = append(out, t.heap[i])
			todo = append(todo, 2*i+1, 2*i+2)
		}
	}
	return out
}

// forget drops the times that are not later and have no row.
func (t *times) forget(limit int64) {
	for len(t.heap) > 0 && t.heap[0] <= limit && t.first[t.heap[0]] == 0 {
		delete(t.first, t.heap[0])
		t.empty--
		t.pop()
	}
}

// tidy drops times without rows if they are most. The map is made again, for it never shrinks.
func (t *times) tidy() {
	if len(t.heap) == 0 && t.peak > 64 {
		*t = times{first: map[int64]uint32{}}
		return
	}
	if t.empty <= 64+len(t.first)/2 && t.peak <= 64+4*len(t.first) {
		return
	}
	kept := times{first: make(map[int64]uint32, len(t.first)-t.empty)}
	for _, time := range t.heap {
		if row := t.first[time]; row != 0 {
			kept.first[time] = row
			kept.push(time)
		}
	}
	kept.peak = len(kept.heap)
	*t = kept
}

// expiry returns the time of a row; math.MaxInt64 and false if it has none.
func (s *Store) expiry(row []byte) (int64, bool) {
	c := s.l.timeAt
	if c == nil || row[c.null/8]&(1<<(c.null%8)) != 0 {
		return math.MaxInt64, false
	}
	return int64(binary.LittleEndian.Uint64(row[c.at:])), true
}

// link puts a row in the list of its time.
func (s *Store) link(slot uint32) {
	row := s.rows.row(slot)
	time, ok := s.expiry(row)
	if !ok {
		return
	}
	t := &s.times
	next, known := t.first[time]
	if !known {
		t.push(time)
		t.peak = max(t.peak, len(t.heap))
	} else if next == 0 {
		t.empty--
	}
	t.first[time] = slot + 1
	s.setLinks(row, 0, next)
	if next != 0 {
		binary.LittleEndian.PutUint32(s.rows.row(next - 1)[s.l.linkAt:], slot+1)
	}
}

// unlink takes a row out of the list of its time.
func (s *Store) unlink(slot uint32) {
	row := s.rows.row(slot)
	time, ok := s.expiry(row)
	if !ok {
		return
	}
	before, next := s.links(row)
	if next != 0 {
		binary.LittleEndian.PutUint32(s.rows.row(next - 1)[s.l.linkAt:], before)
	}
	if before != 0 {
		binary.LittleEndian.PutUint32(s.rows.row(before - 1)[s.l.linkAt+4:], next)
		return
	}
	s.times.first[time] = next
	if next == 0 {
		s.times.empty++
	}
}

func (s *Store) links(row []byte) (before, next uint32) {
	return binary.LittleEndian.Uint32(row[s.l.linkAt:]), binary.LittleEndian.Uint32(row[s.l.linkAt+4:])
}

func (s *Store) setLinks(row []byte, before, next uint32) {
	binary.LittleEndian.PutUint32(row[s.l.linkAt:], before)
	binary.LittleEndian.PutUint32(row[s.l.linkAt+4:], next)
}

// expired returns the rows that expire up to limit, by time, then key.
func (s *Store) expired(limit int64) []uint32 {
	var slots []uint32
	for _, time := range s.times.upTo(limit) {
		for at := s.times.first[time]; at != 0; {
			s.pace(len(slots))
			slots = append(slots, at-1)
			_, at = s.links(s.rows.row(at - 1))
		}
	}
	return s.sorted(slots)
}
