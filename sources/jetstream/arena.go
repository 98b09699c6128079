package jetstream

import "github.com/tidemill/tidemill/stream"

// Recycle implements stream.Recycler.
func (s *source) Recycle(m *stream.Messages) {
	if s.filters == nil && m != nil && cap(m.Data) <= reserveBytes { // with filters nothing is reserved
		s.arenas.Give(m)
	}
}
