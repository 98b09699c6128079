package jetstream

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// A spool file keeps what one range gave, for streams that may not give it again. Its name is
// <from>-<to>.spool, its content a CRC32C of the rest (4 bytes little endian), then the Input's messages as
// JSON. It is durable before Read returns and is removed when a state version holds the range.
const spoolSuffix = ".spool"

type spooled struct {
	Messages *stream.Messages `json:"messages"`
	Lost     int64            `json:"lost"`
	CRC      uint32           `json:"crc"`
}

func (s *source) spoolPath(from, to uint64) string {
	return filepath.Join(s.cfg.Dir, fmt.Sprintf("%d-%d%s", from, to, spoolSuffix))
}

// spool keeps in durably.
func (s *source) spool(from, to uint64, in *stream.Input) error {
	body, err := json.Marshal(spooled{Messages: in.Messages, Lost: in.Lost, CRC: in.CRC})
	if err != nil {
		return fmt.Errorf("encode spool of source %q: %w", s.cfg.Name, err)
	}
	head := binary.LittleEndian.AppendUint32(nil, crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
	if err := s.cfg.FS.MkdirAll(s.cfg.Dir); err != nil {
		return fmt.Errorf("make spool of source %q: %w", s.cfg.Name, err)
	}
	path := s.spoolPath(from, to)
	f, err := s.cfg.FS.Create(path + ".tmp")
	if err != nil {
		return fmt.Errorf("spool source %q: %w", s.cfg.Name, err)
	}
	_, err = f.Write(append(head, body...))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.cfg.FS.Rename(path+".tmp", path)
	}
	if err == nil {
		err = s.cfg.FS.SyncDir(s.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("spool source %q: %w", s.cfg.Name, err)
	}
	return nil
}

// unspool returns what a range gave before, or nil if it was not spooled.
func (s *source) unspool(from, to uint64) (*stream.Input, error) {
	if s.cfg.FS == nil {
		return nil, nil //nolint:nilnil // documented
	}
	path := s.spoolPath(from, to)
	f, err := s.cfg.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, fmt.Errorf("open spool of source %q: %w", s.cfg.Name, err)
	}
	data, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read spool of source %q: %w", s.cfg.Name, err)
	}
	var kept spooled
	table := crc32.MakeTable(crc32.Castagnoli)
	if len(data) < 4 || binary.LittleEndian.Uint32(data) != crc32.Checksum(data[4:], table) ||
		json.Unmarshal(data[4:], &kept) != nil {
		return nil, diag.New(diag.StateCorrupt, "spool file %s of source %q is damaged", path, s.cfg.Name).
			WithHint("restore the file, or start the query in a new data dir")
	}
	return &stream.Input{Messages: kept.Messages, Lost: kept.Lost, CRC: kept.CRC}, nil
}

// Acknowledge implements stream.Source: spooled ranges up to a position are removed. The server is told
// nothing.
func (s *source) Acknowledge(_ context.Context, to stream.Offset) error {
	upTo, err := s.sequence(to)
	if err != nil || s.cfg.FS == nil {
		return err
	}
	names, err := s.cfg.FS.List(s.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list spool of source %q: %w", s.cfg.Name, err)
	}
	for _, name := range names {
		bare, isSpool := strings.CutSuffix(name, spoolSuffix)
		_, end, _ := strings.Cut(bare, "-")
		last, err := strconv.ParseUint(end, 10, 64)
		if !isSpool || err != nil || last > upTo {
			continue
		}
		if err := s.cfg.FS.Remove(filepath.Join(s.cfg.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("drop spool of source %q: %w", s.cfg.Name, err)
		}
	}
	return nil
}
