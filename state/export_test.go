package state

import (
	"context"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// GetWith is Get with an allocator that a test can check.
func (c *Copies) GetWith(ctx context.Context, mem memory.Allocator, table, hash string) ([]arrow.Record, error) {
	return c.get(ctx, mem, table, hash)
}
