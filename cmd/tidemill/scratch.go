package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/vfs"
)

const (
	scratchDir   = "batch-work" // below the data dir; a query's name has no '-'
	scratchNew   = "new-"       // a directory that is being made
	scratchInUse = "run-"       // one that its owner has locked
	// scratchGrace is how long a directory may be in the making.
	scratchGrace = time.Hour
)

// scratch makes a directory below dataDir for one command that leaves nothing there, and removes what commands left
// that were killed. done removes it, and dataDir too if there was none before.
func (e *env) scratch(dataDir string) (dir string, done func() error, err error) {
	fresh := !exists(dataDir)
	base := filepath.Join(dataDir, scratchDir)
	if err := (vfs.OS{}).MkdirAll(base); err != nil {
		return "", nil, checkpoint.Unmakable(base, err) //nolint:wrapcheck // a coded error
	}
	if err := e.sweep(base); err != nil {
		return "", nil, err
	}
	made, err := os.MkdirTemp(base, scratchNew)
	if err != nil {
		return "", nil, fmt.Errorf("make a scratch directory: %w", err)
	}
	lock, err := vfs.Lock(made, "tidemill batch")
	if err != nil {
		return "", nil, fmt.Errorf("make a scratch directory: %w", err)
	}
	// Only now does sweep look at it: the lock goes with the directory.
	dir = filepath.Join(base, scratchInUse+strings.TrimPrefix(filepath.Base(made), scratchNew))
	if err := os.Rename(made, dir); err != nil {
		return "", nil, errors.Join(fmt.Errorf("make a scratch directory: %w", err), lock.Close())
	}
	return dir, func() error {
		err := errors.Join(os.RemoveAll(dir), lock.Close())
		_ = os.Remove(base) // another command may be at work there
		if fresh {
			_ = os.Remove(dataDir) // others may have put something there
		}
		if err != nil {
			return fmt.Errorf("remove scratch directory: %w", err)
		}
		return nil
	}, nil
}

// sweep removes the scratch directories whose owners are gone.
func (e *env) sweep(base string) error {
	entries, err := os.ReadDir(base)
	if err != nil {
		return fmt.Errorf("look for scratch directories: %w", err)
	}
	for _, entry := range entries {
		dir := filepath.Join(base, entry.Name())
		if strings.HasPrefix(entry.Name(), scratchNew) {
			info, err := entry.Info()
			if err != nil || e.clock.Now().Sub(info.ModTime()) < scratchGrace {
				continue
			}
		}
		lock, err := vfs.Lock(dir, "tidemill batch removes it")
		if err != nil {
			continue // it is in use, or its owner removes it just now
		}
		if err := errors.Join(os.RemoveAll(dir), lock.Close()); err != nil {
			return fmt.Errorf("remove scratch directory: %w", err)
		}
	}
	return nil
}
