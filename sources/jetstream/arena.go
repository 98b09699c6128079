package jetstream

import (
	"slices"
	"sync"

	"github.com/tidemill/tidemill/stream"
)

// arenasMax is how many batches have messages at a time: the one that runs and the one that is read ahead.
const arenasMax = 2

// arenas keeps the memory of batches that are done, to be filled again: the system clears new memory first, which costs
// as much as to copy the messages into it. It may be used by several goroutines at once.
type arenas struct {
	mu    sync.Mutex
	spare []stream.Messages // guarded by mu; without messages
}

// Recycle implements stream.Recycler.
func (s *source) Recycle(m *stream.Messages) {
	if s.filters == nil { // else nothing is reserved
		s.arenas.give(m)
	}
}

func (a *arenas) give(m *stream.Messages) {
	if m == nil || cap(m.Data) == 0 || cap(m.Data) > reserveBytes {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.spare) == arenasMax {
		a.spare = slices.Delete(a.spare, 0, 1) // one that fits what comes now is the better one
	}
	a.spare = append(a.spare, stream.Messages{Data: m.Data[:0], Ends: m.Ends[:0], Sequence: m.Sequence[:0]})
}

// take returns memory for so many bytes, which may be empty.
func (a *arenas) take(size int) stream.Messages {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.spare, func(m stream.Messages) bool { return cap(m.Data) >= size })
	if i < 0 {
		return stream.Messages{}
	}
	m := a.spare[i]
	a.spare = slices.Delete(a.spare, i, i+1)
	return m
}
