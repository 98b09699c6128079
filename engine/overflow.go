package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/spill"
)

// trimEvery is how often pages of results that have been written or read are let go.
const trimEvery = 10 * time.Millisecond

// overflow is the memory of what a batch gives, and of what a state version takes out of DuckDB, beyond Go's share for it:
// files without a name, mapped, so that sinks read such records as they read any other. It is an Arrow allocator, and may
// be used concurrently. Where the disk is full the memory is Go's.
type overflow struct {
	pool     *spill.Pool
	mu       sync.Mutex
	trimming bool // guarded by mu
}

func (o *overflow) Allocate(size int) []byte {
	mem, err := o.pool.Alloc(size, spill.Copies)
	if err != nil {
		return make([]byte, size)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.trimming && o.pool.Spilled() > 0 {
		o.trimming = true
		go o.trim() // ends when the last of the memory is given back
	}
	return mem
}

func (o *overflow) Reallocate(size int, mem []byte) []byte {
	if size <= cap(mem) {
		return mem[:size]
	}
	grown := o.Allocate(size)
	copy(grown, mem)
	o.Free(mem)
	return grown
}

func (o *overflow) Free(mem []byte) {
	if cap(mem) > 0 {
		o.pool.Free(mem, spill.Copies)
	}
}

// trim keeps what is mapped within the window: who writes or reads the records does not know where they lie.
func (o *overflow) trim() {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for o.used() {
		o.pool.Trim()
		<-tick.C
	}
}

func (o *overflow) used() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trimming = o.pool.Spilled() > 0
	return o.trimming
}

// close leaves the window to others; what is still held is unmapped when it is given back.
func (o *overflow) close() {
	if o != nil {
		o.pool.Close()
	}
}

// openDuck opens the sealed DuckDB of the query, and where results go that have no room. Both spill into dir.
func (q *Query) openDuck(ctx context.Context, dir string) error {
	files := spill.Options{Dir: dir, Window: q.opt.Window, Room: q.limit * windowShare / shares}
	if q.opt.Spill != nil {
		files = *q.opt.Spill
	}
	q.results = &overflow{pool: spill.New(files)}
	db, err := duck.Open(ctx, duck.Options{Sealed: true, Unsettled: true, MemoryLimit: q.memory(), Threads: q.opt.Threads,
		TempDir: dir, Overflow: q.overflowing(), Slack: q.limit * slackShare / shares})
	if err != nil {
		return fmt.Errorf("open DuckDB: %w", err)
	}
	q.db = db
	return nil
}

// overflowing says when results go to files: beyond the share of Go, or at once where a test says how files are kept.
func (q *Query) overflowing() duck.Overflow {
	o := duck.Overflow{After: q.limit * resultShare / shares, Memory: q.results}
	if q.opt.Spill != nil {
		o.After = 0
	}
	return o
}
