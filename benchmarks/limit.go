package benchmarks

import "fmt"

// memoryOver is how far over its limit a process may be.
const memoryOver = 1.3

// Limit says whether the processes of the engine have kept their memory limit.
type Limit struct {
	Bytes int64 `json:"bytes"`
	Peak  int64 `json:"peak_bytes"` // resident, of the process that had most
	Kept  bool  `json:"kept"`       // no more than 1.3 times the limit
}

// limit compares the peaks of a run with its limit; nil if none was set, or the suite does not look.
func (r *run) limit() *Limit {
	peak := r.peak
	for _, w := range r.workers {
		peak = max(peak, w.peakBytes())
	}
	if r.Memory == 0 || peak == 0 {
		return nil
	}
	return &Limit{Bytes: r.Memory, Peak: peak, Kept: float64(peak) <= memoryOver*float64(r.Memory)}
}

func (l *Limit) markdown() string {
	if l == nil {
		return ""
	}
	verdict := "kept"
	if !l.Kept {
		verdict = "not kept"
	}
	return fmt.Sprintf("Memory limit %d MiB, at most %.1f times that: %d MiB resident at the peak, %.2f times, so it was %s.\n\n",
		l.Bytes>>20, memoryOver, l.Peak>>20, float64(l.Peak)/float64(l.Bytes), verdict)
}
