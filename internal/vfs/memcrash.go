package vfs

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"slices"
)

// sectorBytes is the most that a disk writes in one piece.
const sectorBytes = 512

// Crash returns what a restart would find if the machine stopped now. What is durable is there. Of all else,
// each write, cut, new, renamed or removed name is there with probability keep, each for itself: 0 loses all
// of it, 1 keeps all. In between, the last write to a file that is kept may be torn: cut short, or with some
// of its sectors missing. The same seed gives the same result. m stays as it is, and files open in it do not
// reach the result.
func (m *Mem) Crash(keep float64, seed int64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := &crash{
		keep:   keep,
		rng:    rand.New(rand.NewPCG(uint64(seed), uint64(m.calls))), //nolint:gosec // tests repeat by seed
		names:  map[*node]map[string]*node{},
		clones: map[*node]*node{},
	}
	for _, op := range m.names {
		survives := c.survives()
		for _, e := range op.edits {
			if survives || e.synced {
				applyName(c.namesOf(e.dir), e)
			}
		}
	}
	return &Mem{root: c.clone(m.root)}
}

type crash struct {
	keep   float64
	rng    *rand.Rand
	names  map[*node]map[string]*node
	clones map[*node]*node
}

func (c *crash) survives() bool { return c.rng.Float64() < c.keep }

func (c *crash) namesOf(dir *node) map[string]*node {
	if _, ok := c.names[dir]; !ok {
		c.names[dir] = maps.Clone(dir.kept)
	}
	return c.names[dir]
}

func (c *crash) clone(n *node) *node {
	if done, ok := c.clones[n]; ok {
		return done
	}
	to := &node{changed: n.changed}
	c.clones[n] = to
	if n.names == nil {
		to.data = c.data(n)
		to.synced = bytes.Clone(to.data)
		return to
	}
	names := c.namesOf(n)
	to.names = make(map[string]*node, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		to.names[name] = c.clone(names[name])
	}
	to.kept = maps.Clone(to.names)
	return to
}

func (c *crash) data(n *node) []byte {
	b := bytes.Clone(n.synced)
	for i, e := range n.edits {
		switch {
		case !c.survives():
		case i == len(n.edits)-1 && c.keep < 1 && c.rng.IntN(2) == 0:
			b = c.tear(b, e)
		default:
			b = e.apply(b)
		}
	}
	return b
}

// tear applies part of a write: a prefix of its bytes, or some of its sectors.
func (c *crash) tear(b []byte, e edit) []byte {
	if e.truncate {
		return e.apply(b)
	}
	if c.rng.IntN(2) == 0 {
		e.data = e.data[:c.rng.IntN(len(e.data)+1)]
		return e.apply(b)
	}
	end := e.offset + int64(len(e.data))
	for from := e.offset; from < end; {
		to := min(end, (from/sectorBytes+1)*sectorBytes)
		if c.rng.IntN(2) == 0 {
			b = edit{offset: from, data: e.data[from-e.offset : to-e.offset]}.apply(b)
		}
		from = to
	}
	if grow := end - int64(len(b)); grow > 0 && c.rng.IntN(2) == 0 {
		b = append(b, make([]byte, grow)...) // The length arrived and the data did not.
	}
	return b
}
