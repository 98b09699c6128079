package file

import (
	"context"

	"github.com/tidemill/tidemill/stream"
)

var (
	_ stream.ParquetFiles = (*source)(nil)
	_ stream.Narrow       = (*source)(nil)
)

// ParquetFiles implements stream.ParquetFiles.
func (s *source) ParquetFiles(ctx context.Context) ([]string, error) {
	if s.format != formatParquet {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.opened()
	if err != nil {
		return nil, err
	}
	if _, err := s.present(ctx, l); err != nil {
		return nil, err
	}
	var files []string
	for _, e := range l.after(0, ordinalMax) {
		files = append(files, e.Path)
	}
	return files, nil
}
