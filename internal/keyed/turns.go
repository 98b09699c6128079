package keyed

import (
	"sync"
	"sync/atomic"
	"time"
)

// turns let a reader into long calls, which hold a lock for many rows and can let go of it between any two. The lock alone would
// not: who lets go of it and takes it again at once is the next one to have it. Nor would a timer: it is late where all cores are
// busy, and what it wakes waits for a core that the call leaves at once.
type turns struct {
	mu   *sync.Mutex
	due  atomic.Pointer[time.Time] // when the reader wants the lock; nil while it does not. Cleared under the lock
	wake chan struct{}
	done sync.Cond // the reader has had its turn
}

// guard says which lock it is.
func (t *turns) guard(mu *sync.Mutex) { t.mu, t.done.L, t.wake = mu, mu, make(chan struct{}, 1) }

// begin takes the lock for the reader, of which there is one, after a rest. It returns how long that took.
func (t *turns) begin(rest time.Duration) time.Duration {
	now := time.Now()
	due := now.Add(rest)
	t.due.Store(&due)
	if rest > 0 {
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-t.wake:
		}
		timer.Stop()
	}
	t.mu.Lock()
	t.due.Store(nil)
	select { // nobody is waked for what has begun
	case <-t.wake:
	default:
	}
	return time.Since(now)
}

// end gives the lock back.
func (t *turns) end() {
	t.done.Signal()
	t.mu.Unlock()
}

// offer lets the reader have a turn that is due. The caller holds the lock, and must not rely on what the reader changes.
func (t *turns) offer() {
	due := t.due.Load()
	if due == nil || time.Now().Before(*due) {
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	t.done.Wait()
}
