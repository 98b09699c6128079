package state

import (
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

var errUnwanted = errors.New("nobody wants more of the stream") //nolint:gochecknoglobals // a sentinel

// readStreamAhead does what readStream does, and reads the next group on a goroutine of its own while fn has one. The
// goroutine has ended when it returns.
func readStreamAhead(r io.Reader, mem memory.Allocator, fn func([]arrow.Record) error) (int64, error) {
	var rows int64
	var err error
	groups, unwanted := make(chan []arrow.Record), make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(groups)
		rows, err = readStream(r, mem, func(group []arrow.Record) error {
			for _, rec := range group {
				rec.Retain()
			}
			select {
			case groups <- slices.Clone(group):
				return nil
			case <-unwanted:
				releaseAll(group)
				return errUnwanted
			}
		})
	})
	defer reading.Wait()
	defer close(unwanted)
	for group := range groups {
		if err := lend(group, fn); err != nil {
			return 0, &callError{err}
		}
	}
	return rows, err
}

func lend(group []arrow.Record, fn func([]arrow.Record) error) error {
	defer releaseAll(group)
	return fn(group)
}

func releaseAll(records []arrow.Record) {
	for _, rec := range records {
		rec.Release()
	}
}
