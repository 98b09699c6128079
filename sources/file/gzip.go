package file

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/tidemill/tidemill/internal/diag"
)

// unpack puts what a .gz file has unpacked into the arena. Of one that is cut short these are the whole lines before the
// cut, which are as right as if the file were whole; what comes after them is one broken payload. Of one that is damaged
// in another way nothing is used, because unpacking may notice a wrong byte long after it gave something wrong for it.
func (b *batch) unpack(c content) error {
	m, start := b.messages, len(b.messages.Data)
	var damage error
	m.Data, damage = gunzip(m.Data, c.data)
	switch {
	case errors.Is(damage, errUnpacked) && start > 0:
		return b.full()
	case errors.Is(damage, errUnpacked) || damage != nil && b.source.cfg.Options.String("on_error") == "fail":
		return diag.Wrap(diag.ReadFailed, damage, "source %q: file %q can not be unpacked", b.source.cfg.Name, c.Path).
			WithHint(mendFile)
	case damage == nil:
		return nil
	}
	data, whole := m.Data[start:], 0
	if errors.Is(damage, io.ErrUnexpectedEOF) && b.source.byLine() {
		whole = bytes.LastIndexByte(data, '\n') + 1
	}
	rest := data[whole:]
	reason := fmt.Sprintf("the packed file is damaged: %v; its first %d bytes unpacked are used, the rest is not", damage, whole)
	if whole == 0 {
		reason = fmt.Sprintf("the packed file is damaged: %v; nothing of it is used", damage)
	}
	if len(data) == 0 {
		rest = c.data // it is no packed file at all
	}
	b.broken.put(c.entry, rest[:min(len(rest), chunkBytes)], reason)
	m.Data = m.Data[:start+whole]
	return nil
}

// byLine reports that a part of a file up to the end of a line means what it means in the whole file.
func (s *source) byLine() bool {
	return s.format == formatLines || s.format == "text" || s.format == "csv"
}

// errUnpacked is about a limit and not about the file.
var errUnpacked = errors.New("it has more than 2 GiB unpacked")

// gunzip appends what can be unpacked to an arena, and returns the error that ended it.
func gunzip(arena, data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // an empty file
	}
	for err == nil {
		if len(arena) > arenaMax {
			return arena, errUnpacked
		}
		arena = slices.Grow(arena, readBytes)
		var n int
		n, err = r.Read(arena[len(arena) : len(arena)+readBytes])
		arena = arena[:len(arena)+n]
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return arena, err //nolint:wrapcheck // unpack wraps it
}
