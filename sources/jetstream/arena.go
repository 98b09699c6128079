package jetstream

import (
	"slices"
	"sync"

	"github.com/tidemill/tidemill/stream"
)

// batchesMax is how many batches have messages at a time: the one that runs and the one that is read ahead.
const batchesMax = 2

// arenaBytesMax is the largest memory of a batch that is kept.
const arenaBytesMax = 64 << 20

// Recycle implements stream.Recycler.
func (s *source) Recycle(m *stream.Messages) {
	if p, ok := s.lent.back(m); ok {
		s.feed.release(p)
	} else if m != nil && cap(m.Data) >= chunkBytesMin && cap(m.Data) <= arenaBytesMax {
		s.arenas.Give(m)
	}
}

// lent remembers which batches are parts of chunks. One that is not given back is forgotten, and its chunk is not filled
// again. It may be used by several goroutines at once.
type lent struct {
	mu    sync.Mutex
	parts []loan // guarded by mu; the newest last
}

type loan struct {
	messages *stream.Messages
	part     part
}

func (l *lent) add(m *stream.Messages, p part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.parts) == 2*batchesMax {
		l.parts = slices.Delete(l.parts, 0, 1)
	}
	l.parts = append(l.parts, loan{m, p})
}

// back returns the part that a batch is.
func (l *lent) back(m *stream.Messages) (part, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.parts, func(o loan) bool { return o.messages == m })
	if i < 0 {
		return part{}, false
	}
	p := l.parts[i].part
	l.parts = slices.Delete(l.parts, i, i+1)
	return p, true
}
