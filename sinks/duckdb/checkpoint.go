package duckdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/internal/vfs"
)

// walBytesMax is how large the WAL grows before its rows are written into the file. A larger one makes the
// next start slow and hungry: DuckDB replays it under its memory limit.
const walBytesMax = 256 << 20

// checkpoint writes the WAL into the file if it has at least least bytes and the disk has room for what
// DuckDB may write meanwhile. A checkpoint that meets a full disk makes the instance invalid, so it is not
// tried on luck. The caller has the turn, or is alone.
func (d *database) checkpoint(ctx context.Context, least int64) error {
	wal, err := size(d.path + ".wal")
	if err != nil || wal < least {
		return err
	}
	file, err := size(d.path)
	if err != nil {
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(d.path), &disk); err != nil {
		return fmt.Errorf("look at free space for %s: %w", d.path, err)
	}
	free := int64(disk.Bavail) * int64(disk.Bsize) //nolint:gosec,unconvert // not int64 everywhere
	if free < 2*(file+wal) {
		return nil
	}
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return d.judge(err, "checkpoint")
	}
	_, err = conn.Exec(ctx, "CHECKPOINT")
	return errors.Join(d.judge(err, "checkpoint"), conn.Close())
}

// size returns the bytes of a file that DuckDB keeps on the machine's own file system; 0 if it is not there.
func size(path string) (int64, error) {
	info, err := vfs.OS{}.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look at %s: %w", path, err)
	}
	return info.Size(), nil
}
