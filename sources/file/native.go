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
func (s *source) ParquetFiles(ctx context.Context, times string) (*stream.ParquetSet, error) {
	if s.format != formatParquet {
		return nil, nil //nolint:nilnil // as it promises
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
	return parquetSet(ctx, s.cfg.FS, l.after(0, ordinalMax), times)
}
