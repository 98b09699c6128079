// Package clock is the engine's only door to wall time, so that a test can stand where the clock stands.
//
// System reads the machine's clock. Manual stands still until it is told to move; timers made from it fire
// inside Advance. Event time never comes from here: it is data.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time and waits for it. All methods may be called concurrently.
type Clock interface {
	// Now returns the current time in UTC.
	Now() time.Time
	// Sleep returns after d, or earlier with the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// System is the machine's clock.
type System struct{}

// Now returns the machine's time in UTC.
func (System) Now() time.Time { return time.Now().UTC() }

// Sleep waits on a runtime timer.
func (System) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Manual is a clock that a test moves by hand. The zero value is not usable; see NewManual.
type Manual struct {
	mu    sync.Mutex
	now   time.Time
	moved chan struct{} // closed and replaced whenever now changes
}

// NewManual returns a clock that stands at start.
func NewManual(start time.Time) *Manual {
	return &Manual{now: start.UTC(), moved: make(chan struct{})}
}

// Now returns where the clock stands.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock by d, which must not be negative, and wakes the sleepers that are due.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	close(m.moved)
	m.moved = make(chan struct{})
}

// Sleep returns when the clock has been moved by at least d in all.
func (m *Manual) Sleep(ctx context.Context, d time.Duration) error {
	m.mu.Lock()
	until := m.now.Add(d)
	m.mu.Unlock()
	for {
		m.mu.Lock()
		due, moved := !m.now.Before(until), m.moved
		m.mu.Unlock()
		if due {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-moved:
		}
	}
}
