package stream

import (
	"slices"
	"sync"
)

// arenasMax is how many batches have messages at a time: the one that runs and the one that is read ahead.
const arenasMax = 2

// Arenas keeps the memory of Messages that are done with, to be filled again: the system clears new memory first, which
// costs more than to copy payloads into it. It may be used by several goroutines at once.
type Arenas struct {
	mu    sync.Mutex
	spare []Messages // guarded by mu; without messages
}

// Give takes back memory that nobody looks at any more. What is not of the arena, such as headers, is dropped.
func (a *Arenas) Give(m *Messages) {
	if m == nil || cap(m.Data) == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.spare) == arenasMax {
		a.spare = slices.Delete(a.spare, 0, 1) // one that fits what comes now is the better one
	}
	a.spare = append(a.spare, Messages{Data: m.Data[:0], Ends: m.Ends[:0], Sequence: m.Sequence[:0]})
}

// Take returns memory with room for so many bytes of payload, or with none at all.
func (a *Arenas) Take(size int) Messages {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.spare, func(m Messages) bool { return cap(m.Data) >= size })
	if i < 0 {
		return Messages{}
	}
	m := a.spare[i]
	a.spare = slices.Delete(a.spare, i, i+1)
	return m
}

// Drop gives up the memory that is kept.
func (a *Arenas) Drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.spare = nil
}
