package checkpoint

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/url"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// Stager returns what keeps results for sinks that can not take a batch in one step. A staged result is a
// file staged/<batch>-<sink>.bin, the bytes with their CRC32C behind, and a Staged entry, in this order; it
// is dropped after the batch's Commit is durable. Sinks may stage beside one another.
func (c *Checkpoint) Stager() stream.Stager { return stager{c} }

type stager struct{ c *Checkpoint }

// Stage makes the bytes durable and logs them. The batch must be between its Intent and its Commit.
func (s stager) Stage(ctx context.Context, batch int64, sink string, data []byte) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	c := s.c
	there, err := c.beginStage(batch, sink)
	if err != nil {
		return err
	}
	if there != nil {
		return c.sameStaged(*there, data)
	}
	defer c.endStage(batch, sink)
	entry := Staged{
		Batch: batch, Sink: sink, File: stagedName(batch, sink), Bytes: int64(len(data)),
		CRC: crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)),
	}
	file := binary.LittleEndian.AppendUint32(bytes.Clone(data), entry.CRC)
	if err := vfs.WriteFile(c.fs, c.path(stagedDir, entry.File), file); err != nil {
		return fmt.Errorf("stage batch %d for sink %q: %w", batch, sink, err)
	}
	return c.logStaged(entry)
}

// beginStage returns what is staged already, or claims the place.
func (c *Checkpoint) beginStage(batch int64, sink string) (*Staged, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return nil, err
	}
	if err := c.running(batch); err != nil {
		return nil, err
	}
	if there, ok := c.pending.staged[sink]; ok {
		return &there, nil
	}
	if c.staging[slot{batch, sink}] {
		return nil, diag.New(diag.Internal, "batch %d is staged for sink %q twice at once", batch, sink)
	}
	c.staging[slot{batch, sink}] = true
	return nil, nil //nolint:nilnil // nothing staged is an answer here
}

func (c *Checkpoint) endStage(batch int64, sink string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.staging, slot{batch, sink})
}

func (c *Checkpoint) logStaged(s Staged) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	if err := c.running(s.Batch); err != nil {
		return err
	}
	e, err := encode(typeStaged, s.Batch, s)
	if err != nil {
		return err
	}
	if _, err := c.append(e); err != nil {
		return err
	}
	c.pending.staged[s.Sink] = s
	return nil
}

func (c *Checkpoint) sameStaged(s Staged, data []byte) error {
	was, err := c.readStaged(s)
	if err != nil {
		return err
	}
	if !bytes.Equal(was, data) {
		return diag.New(diag.Internal,
			"the result of batch %d for sink %q has %d bytes that differ from the %d staged before",
			s.Batch, s.Sink, len(data), len(was)).
			WithNote("the batch ran twice and gave two results; what is staged is what counts")
	}
	return nil
}

// Staged returns what Stage kept for the batch, or nil.
func (s stager) Staged(ctx context.Context, batch int64, sink string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	c := s.c
	c.mu.Lock()
	err := c.usable()
	var there *Staged
	if c.pending != nil && c.pending.intent.Batch == batch {
		if entry, ok := c.pending.staged[sink]; ok {
			there = &entry
		}
	}
	c.mu.Unlock()
	if err != nil || there == nil {
		return nil, err
	}
	return c.readStaged(*there)
}

func (c *Checkpoint) readStaged(s Staged) ([]byte, error) {
	path := c.path(stagedDir, s.File)
	data, err := vfs.ReadFile(c.fs, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, stagedDamage(path, "the file is gone")
	case err != nil:
		return nil, fmt.Errorf("read staged result: %w", err)
	case int64(len(data)) != s.Bytes+4:
		why := fmt.Sprintf("the file has %d bytes and should have %d", len(data), s.Bytes+4)
		return nil, stagedDamage(path, why)
	}
	body := data[:s.Bytes]
	sum := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli))
	if sum != s.CRC || binary.LittleEndian.Uint32(data[s.Bytes:]) != s.CRC {
		return nil, stagedDamage(path, "the checksum differs")
	}
	return body, nil
}

func stagedDamage(path, why string) error {
	return diag.New(diag.LogCorrupt, "staged result %s: byte 0: %s", path, why).
		WithNote("it had been synced before the log named it, so this is damage, not a crash; " +
			"nothing was changed").
		WithHint("restore the directory from a copy; part of this batch may be in its sink already")
}

// dropStaged removes the staged results of a batch whose Commit is durable. A crash before leaves them to
// Open.
func (c *Checkpoint) dropStaged(b *openBatch) error {
	if b == nil {
		return nil
	}
	for _, file := range stagedFiles(b) {
		if err := c.fs.Remove(c.path(stagedDir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove staged result: %w", err)
		}
	}
	return nil
}

func stagedFiles(b *openBatch) []string {
	var files []string
	for _, s := range sortedStaged(b.staged) {
		files = append(files, s.File)
	}
	return files
}

// stagedName is a plain file name for any sink name.
func stagedName(batch int64, sink string) string {
	return fmt.Sprintf("%020d-%s.bin", batch, url.PathEscape(sink))
}
