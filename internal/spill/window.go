package spill

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// windowLeast is the least room of a window: a page fault maps up to 16 pages around the one that was touched.
const windowLeast = 16 << 20

// A Window bounds what a process has mapped of the files of its pools. The kernel counts that for the process as a
// whole, so all pools of a process share one; each adds its Options.Room.
type Window struct {
	mu       sync.Mutex
	room     int64 // less than 0 lets go of all at every look
	mapped   map[*byte][]byte
	others   int64 // resident bytes of files that are not ours, when that was last known
	trimmed  int64 // how often pages were let go
	resident func() int64
}

// NewWindow returns a window without a pool.
func NewWindow() *Window {
	return &Window{mapped: map[*byte][]byte{}, resident: residentFiles()}
}

// widen adds room, or takes it away.
func (w *Window) widen(room int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room += room
}

// add puts a mapping under the window.
func (w *Window) add(mem []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.mapped) == 0 {
		w.others = w.resident()
	}
	w.mapped[unsafe.SliceData(mem)] = mem
}

// remove takes it out again.
func (w *Window) remove(mem []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.mapped, unsafe.SliceData(mem))
}

// trim lets go of all pages if there are too many. What remains then is not ours.
func (w *Window) trim() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, room := w.resident(), w.room
	if room >= 0 {
		room = max(room, windowLeast)
	}
	if now < 0 || now-w.others <= room {
		return
	}
	for _, mem := range w.mapped {
		_ = unix.Madvise(mem, unix.MADV_DONTNEED) // a mapping of a file keeps its data; it fails for no valid one
	}
	w.trimmed++
	w.others = w.resident()
}

// Trimmed returns how often mapped pages have been let go of.
func (w *Window) Trimmed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trimmed
}
