package jetstream

// covers reports whether the next message that the feed gives is the first that matches after a sequence.
func (f *feed) covers(after uint64, identity string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.alive || f.base > after || after > max(f.last, f.base) || identity != "" && identity != f.life {
		return false
	}
	if f.base < after {
		f.buffer.take(after, nil)
		f.base = after
		f.request()
	}
	return true
}

// progress is what a reader learns when it takes from the feed.
type progress struct {
	alive   bool
	last    uint64 // everything that matches up to here has been taken or is still in the buffer
	drained bool
}

// take gives the messages up to a sequence and asks for more. The caller releases the parts.
func (f *feed) take(to uint64) ([]part, progress) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var parts []part
	f.buffer.take(to, func(p part) { parts = append(parts, p) })
	f.base = max(f.base, min(f.last, to))
	f.wake = to
	f.request()
	return parts, progress{alive: f.alive, last: f.last, drained: f.drained}
}

// release takes a part back: nobody looks at its messages any more.
func (f *feed) release(p part) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p.chunk.held--
	f.buffer.reuse(p.chunk)
}

// expect says where the next batch ends, and about how many payload bytes are in it.
func (f *feed) expect(to uint64, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.buffer.expect(to, bytes)
}

// ends tells the feed that nothing up to a sequence matches any more.
func (f *feed) ends(to uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.base = max(f.base, to)
	f.last = max(f.last, to)
}

// ahead says how far a batch that starts after a sequence may go by what is in the buffer: rows and bytes
// that are known, up to last; cut is set if a limit was reached on the way, and then last is the end.
func (f *feed) ahead(after uint64, rows, bytes int64) (known size, last uint64, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.alive || f.base > after || f.last <= after {
		return size{}, after, false
	}
	known, end, cut := f.buffer.measure(after, rows, bytes)
	if cut {
		return known, end, true
	}
	return known, f.last, false
}

// held says up to where the feed has all that follows a position, of a stream of which identity, and whether the server
// had nothing more when it sent the last of it. ok is false if the feed has nothing that follows.
func (f *feed) held(after uint64) (last uint64, life string, drained, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last, f.life, f.drained, f.alive && f.base <= after && f.last > after
}

// arrived reports whether a message has come, and asks for a notification when it does.
func (f *feed) arrived(sequence uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake = min(f.wake, sequence)
	return f.last >= sequence || !f.alive
}

// arm asks for a notification at the next message after a sequence, and reports whether one is there already.
func (f *feed) arm(after uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake = after + 1
	return f.last > after && f.base <= after && f.buffer.holds(after)
}
