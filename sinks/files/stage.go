package files

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// stage is step 1 of the protocol: it writes d's files under _staging, durably, and says what they are.
// Another try of the same batch writes over them.
func (s *sink) stage(ctx context.Context, d stream.Delivery) ([]FileInfo, error) {
	if d.Result.NumRows() == 0 {
		return nil, nil
	}
	schema := fileSchema(d.Result.Schema, s.opt.partition)
	groups, err := split(ctx, d.Result.Records, schema, s.opt.partition)
	defer func() {
		for _, g := range groups {
			g.release()
		}
	}()
	if err != nil {
		return nil, fmt.Errorf("sort batch %d into folders: %w", d.Marker.Batch, err)
	}
	sum := crc32.Checksum([]byte(schema.String()), castagnoli())
	files := make([]FileInfo, 0, len(groups))
	for _, g := range groups {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		f := FileInfo{Path: s.newPath(g.dir, len(files)), Batch: d.Marker.Batch, Schema: sum}
		if d.Replace != "" {
			f.Query, f.Slot = d.Marker.Query, d.Replace
		}
		if err := s.writeGroup(g, schema, &f); err != nil {
			return nil, s.fault(err, "write file %s of batch %d", f.Path, d.Marker.Batch)
		}
		files = append(files, f)
	}
	return files, s.stagedAll()
}

func (s *sink) writeGroup(g *group, schema *arrow.Schema, f *FileInfo) error {
	if err := s.makeDir(filepath.Dir(s.final(f.Path))); err != nil {
		return err
	}
	return s.writeStaged(f, func(w io.Writer) error {
		enc, err := s.opt.codec.create(w, schema)
		if err != nil {
			return err
		}
		for _, r := range g.records {
			f.Rows += r.NumRows()
			if err := enc.write(r); err != nil {
				return err
			}
		}
		return enc.close()
	})
}

// newPath names the n-th file of the next entry. The entry's number makes the name unique in the chain's
// life, and the same for another try.
func (s *sink) newPath(dir string, n int) string {
	return fmt.Sprintf("%spart-%016d-%04d%s", dir, s.chain.head+1, n, s.opt.codec.extension())
}

// writeStaged makes one staged file durable, and fills in its size and CRC.
func (s *sink) writeStaged(f *FileInfo, fill func(io.Writer) error) error {
	out, err := s.cfg.FS.Create(s.staged(f.Path))
	if err != nil {
		return err //nolint:wrapcheck // the callers name the file
	}
	sum := &summed{below: out}
	w := bufio.NewWriterSize(sum, 64<<10)
	err = fill(w)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = out.Sync()
	}
	f.Size, f.CRC = sum.size, sum.crc
	return errors.Join(err, out.Close())
}

// stagedAll makes the names under _staging durable, so that the entry never names a file that is not there.
func (s *sink) stagedAll() error {
	if err := s.cfg.FS.SyncDir(s.dir(stagingDir)); err != nil {
		return s.fault(err, "sync %s", s.dir(stagingDir))
	}
	return nil
}

// makeDir makes a folder once; making it durable again for every file would cost a sync each.
func (s *sink) makeDir(dir string) error {
	if s.made[dir] {
		return nil
	}
	if err := s.cfg.FS.MkdirAll(dir); err != nil {
		return err //nolint:wrapcheck // the callers name the file
	}
	if len(s.made) >= partitionsMax {
		clear(s.made)
	}
	s.made[dir] = true
	return nil
}

// summed counts and sums what goes to a file.
type summed struct {
	below vfs.File
	size  int64
	crc   uint32
}

func (s *summed) Write(p []byte) (int, error) {
	n, err := s.below.Write(p)
	s.size += int64(n)
	s.crc = crc32.Update(s.crc, castagnoli(), p[:n])
	return n, err //nolint:wrapcheck // the callers name the file
}
