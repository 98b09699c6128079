package spill

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	segmentLeast = 1 << 20 // segments double what there is
	segmentMost  = 64 << 20
	leastDefault = 64 << 10
	indexShare   = 3 // one part in so many of what is resident is kept for indexes
)

// Kind says what a block is for.
type Kind int

// The kinds of blocks.
const (
	Rows   Kind = iota
	Index       // every search touches it, so it goes to a file last
	Copies      // it can not wait for room on a full disk: then it is Go's
	kinds
)

// Options say how much memory a Pool may use. Dir is needed.
type Options struct {
	Dir      string  // a directory for files without a name; made when the first one is needed
	Resident int64   // bytes in memory alone; 0 is none
	Window   *Window // of the process, which bounds what is mapped of files; nil for one of its own
	Room     int64   // of Window for this pool; all pools together have 16 MiB at least, and less than 0 is none, for tests
	Least    int     // blocks of fewer bytes are Go's; 0 means 64 KiB, less than 0 that none is

	// Reserve gives a file its size and blocks on disk; nil asks the file system. Tests refuse here.
	Reserve func(f *os.File, size int64) error
	// Map gives zero bytes of no file; nil asks the kernel. Tests refuse here.
	Map func(n int) ([]byte, error)
}

// A Pool hands out blocks. Its methods may be called concurrently, and on nil, which takes all from Go.
type Pool struct {
	opt Options

	mu     sync.Mutex
	anon   space
	file   space
	inAnon [kinds]int64 // bytes of anon by kind

	spilled atomic.Int64 // bytes of file
	held    atomic.Int64 // bytes of anon
}

// New returns an empty pool, which the caller closes.
func New(o Options) *Pool {
	if o.Window == nil {
		o.Window = NewWindow()
	}
	if o.Reserve == nil {
		o.Reserve = reserve
	}
	if o.Map == nil {
		o.Map = mapMemory
	}
	switch {
	case o.Least == 0:
		o.Least = leastDefault
	case o.Least < 0:
		o.Least = 1
	}
	o.Window.widen(o.Room)
	return &Pool{opt: o, anon: space{zero: dropsZero}}
}

// Alloc returns n zero bytes, which Free takes back. What the kernel
// refuses to give in memory is spilled. It fails where the disk has no room for what memory has none for.
func (p *Pool) Alloc(n int, kind Kind) ([]byte, error) {
	if p == nil || n < p.opt.Least {
		return make([]byte, n), nil
	}
	size := wholePages(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fits(int64(size), kind) {
		mem, err := p.anon.take(size, p.opt.Map)
		if err == nil {
			p.inAnon[kind] += int64(size)
			p.held.Add(int64(size))
			return mem[:n:n], nil
		}
		// A kernel that promises no more memory than it has (vm.overcommit_memory = 2) refuses before the share is used up.
		if !errors.Is(err, unix.ENOMEM) {
			return nil, fmt.Errorf("allocate %d bytes of state: %w", n, err)
		}
	}
	mem, err := p.file.take(size, p.mapFile)
	if err != nil && kind == Copies {
		return make([]byte, n), nil
	}
	if err != nil {
		return nil, fmt.Errorf("spill %d bytes of state: %w", n, err)
	}
	p.spilled.Add(int64(size))
	return mem[:n:n], nil
}

// fits reports whether there is room for a block in memory alone, and beside it for the indexes to come.
func (p *Pool) fits(size int64, kind Kind) bool {
	used := p.held.Load()
	if kind != Index {
		used += max(0, p.opt.Resident/indexShare-p.inAnon[Index])
	}
	return used+size <= p.opt.Resident
}

func (p *Pool) mapFile(n int) ([]byte, error) {
	mem, err := mapFile(p.opt.Dir, n, p.opt.Reserve)
	if err == nil {
		p.opt.Window.add(mem)
	}
	return mem, err
}

// Free takes back what Alloc returned for the kind. Nobody may touch it any more.
func (p *Pool) Free(mem []byte, kind Kind) {
	if p == nil || cap(mem) < p.opt.Least {
		return
	}
	mem = mem[:cap(mem)]
	size := wholePages(len(mem))
	p.mu.Lock()
	defer p.mu.Unlock()
	if seg := p.anon.segment(mem); seg != nil {
		p.inAnon[kind] -= int64(size)
		p.held.Add(-int64(size))
		p.anon.give(seg, mem, size, func([]byte) {})
		return
	}
	if seg := p.file.segment(mem); seg != nil { // else it is a copy that Go has
		p.spilled.Add(-int64(size))
		p.file.give(seg, mem, size, p.opt.Window.remove)
	}
}

// Close leaves the window to others, once every block has been freed. It may be called again.
func (p *Pool) Close() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opt.Window.widen(-p.opt.Room)
	p.opt.Room = 0
}

// Trim lets go of mapped pages of files if they are more than the window. It costs next to nothing as long as nothing
// has been spilled, and some microseconds otherwise.
func (p *Pool) Trim() {
	if p != nil && p.spilled.Load() > 0 {
		p.opt.Window.trim()
	}
}

// Spilled returns the bytes of blocks that lie in files.
func (p *Pool) Spilled() int64 {
	if p == nil {
		return 0
	}
	return p.spilled.Load()
}

// Resident returns the bytes of blocks that lie in memory alone.
func (p *Pool) Resident() int64 {
	if p == nil {
		return 0
	}
	return p.held.Load()
}

func wholePages(n int) int {
	page := os.Getpagesize()
	return (n + page - 1) / page * page
}
