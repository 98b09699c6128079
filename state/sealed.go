package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"

	"github.com/tidemill/tidemill/internal/vfs"
)

// sealedFormat is the version of the envelope and of everything that is kept in one.
const sealedFormat = 1

const (
	sealedBytesMax = 64 << 20 // a manifest of 100,000 parts has 20 MB
	tmpSuffix      = ".tmp"
)

// ErrSeal is in the chain of every error of ReadSealed that is about the file's content.
var ErrSeal = errors.New("document is damaged")

// ErrNewer is in the chain of an error of ReadSealed when a newer engine wrote the file.
var ErrNewer = errors.New("document has a newer format")

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

type envelope struct {
	Format int             `json:"format"`
	CRC    string          `json:"crc32c"`
	Body   json.RawMessage `json:"body"`
}

// WriteSealed writes v as JSON with its own checksum to dir/name, durably and in one step: after a crash the
// file is what it was before or what it is now. One goroutine at a time may write a name.
func WriteSealed(fsys vfs.FS, dir, name string, v any) error {
	data, err := seal(v)
	if err != nil {
		return err
	}
	if err := vfs.WriteFile(fsys, filepath.Join(dir, name), data); err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	return nil
}

// ReadSealed reads what WriteSealed wrote. Its error wraps fs.ErrNotExist when there is no such file, ErrSeal
// when any byte that matters is not as it was written, and ErrNewer when this engine is too old to understand
// it.
func ReadSealed(fsys vfs.FS, path string, v any) error {
	data, err := readWhole(fsys, path, sealedBytesMax)
	if err != nil {
		return err
	}
	return unseal(data, v)
}

func seal(v any) ([]byte, error) {
	body, err := json.MarshalIndent(v, "  ", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode document: %w", err)
	}
	var b bytes.Buffer
	crc := crc32.Checksum(body, castagnoli())
	fmt.Fprintf(&b, "{\n  \"format\": %d,\n  \"crc32c\": \"%08x\",\n  \"body\": %s\n}\n", sealedFormat, crc, body)
	return b.Bytes(), nil
}

func unseal(data []byte, v any) error {
	var e envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	want := fmt.Sprintf("%08x", crc32.Checksum(e.Body, castagnoli()))
	if e.CRC != want {
		return fmt.Errorf("%w: its checksum is %q and should be %q", ErrSeal, want, e.CRC)
	}
	if e.Format > sealedFormat {
		return fmt.Errorf("%w: %d, this engine reads up to %d", ErrNewer, e.Format, sealedFormat)
	}
	if e.Format != sealedFormat {
		return fmt.Errorf("%w: its format is %d", ErrSeal, e.Format)
	}
	if err := json.Unmarshal(e.Body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrSeal, err)
	}
	return nil
}

func readWhole(fsys vfs.FS, path string, bytesMax int64) (data []byte, err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err = io.ReadAll(io.LimitReader(f, bytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > bytesMax {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrSeal, path, bytesMax)
	}
	return data, nil
}
