package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

const (
	magic         = "TMWAL\x00\x00\x01"
	segmentFormat = 1
	headerBytes   = 64
	namePrefix    = "wal-"
	nameSuffix    = ".log"
	tmpSuffix     = ".tmp"
	tornSuffix    = ".torn"
)

// segment is what is known of one segment file.
type segment struct {
	path    string
	id      [16]byte
	number  uint64
	first   Position // its first frame, whether it is there yet or not
	prev    uint32   // chain before its first frame
	next    Position // frame after its last one
	chain   uint32   // head CRC of its last frame, or prev
	size    int64    // bytes up to the end of its last whole frame
	entries int
}

func segmentPath(dir string, first Position) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x%s", namePrefix, uint64(first), nameSuffix))
}

// parseName returns the first frame of a segment by its file name.
func parseName(name string) (first Position, ok bool) {
	hex, ok := strings.CutPrefix(name, namePrefix)
	if !ok {
		return 0, false
	}
	hex, ok = strings.CutSuffix(hex, nameSuffix)
	n, err := strconv.ParseUint(hex, 16, 64)
	return Position(n), ok && err == nil && len(hex) == 16 && strings.ToLower(hex) == hex
}

// listSegments returns the paths of the segments in dir, oldest first, and of what a crash left half made.
func listSegments(fsys vfs.FS, dir string) (paths, garbage []string, err error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list log %q: %w", dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		switch _, ok := parseName(name); {
		case ok:
			paths = append(paths, filepath.Join(dir, name))
		case strings.HasPrefix(name, namePrefix) && strings.HasSuffix(name, tmpSuffix):
			garbage = append(garbage, filepath.Join(dir, name))
		}
	}
	return paths, garbage, nil
}

func (s *segment) header() []byte {
	b := make([]byte, headerBytes)
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint16(b[8:], segmentFormat)
	le.PutUint16(b[10:], segmentFormat)
	copy(b[16:32], s.id[:])
	le.PutUint64(b[32:], s.number)
	le.PutUint64(b[40:], uint64(s.first))
	le.PutUint32(b[48:], s.prev)
	le.PutUint32(b[52:], castagnoli(b[:52]))
	return b
}

// parseHeader reads the header of the segment at path. A header is synced before its file gets this name, so
// one that does not hold is damage.
func parseHeader(path string, b []byte) (segment, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < headerBytes:
		return segment{}, corrupt(path, 0, fmt.Errorf("the header has %d of %d bytes", len(b), headerBytes))
	case string(b[:8]) != magic:
		return segment{}, corrupt(path, 0, errors.New("the header is not that of a log"))
	case le.Uint32(b[52:]) != castagnoli(b[:52]) || !zero(b[56:headerBytes]):
		return segment{}, corrupt(path, 0, errors.New("the header's checksum differs"))
	}
	if need := le.Uint16(b[10:]); need > segmentFormat {
		return segment{}, diag.New(diag.CheckpointUnusable,
			"%s has log format %d, this version reads up to %d", path, need, segmentFormat).
			WithHint("use the version that wrote it, or a newer one")
	}
	s := segment{
		path: path, id: [16]byte(b[16:32]), number: le.Uint64(b[32:]),
		first: Position(le.Uint64(b[40:])), prev: le.Uint32(b[48:]), size: headerBytes,
	}
	if named, _ := parseName(filepath.Base(path)); named != s.first {
		return segment{}, corrupt(path, 0, fmt.Errorf("the file holds frames from %d on, other than its name says",
			s.first))
	}
	s.next, s.chain = s.first, s.prev
	return s, nil
}

// follows says why s can not be the segment after p, or nil.
func (s *segment) follows(p *segment) error {
	switch {
	case s.id != p.id:
		return errors.New("the segment belongs to another log than the one before")
	case s.number != p.number+1 || s.first != p.next:
		return fmt.Errorf("segment %d begins with frame %d, expected segment %d with frame %d",
			s.number, s.first, p.number+1, p.next)
	case s.prev != p.chain:
		return errors.New("the segment does not continue the one before")
	}
	return nil
}
