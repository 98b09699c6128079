// Package letters keeps the dead letters and late rows of a query: what a batch could not use, with its
// reason, so that it can be looked at, mended and replayed.
//
// On disk, under the query's directory: one file per batch that has any, named by the batch's 16 digits, with
// one JSON object per line. A batch that runs again has the same letters and writes the same file over the
// old one, by a rename of a synced temporary file; so each letter is there exactly once, and a crash leaves a
// whole file or none.
package letters

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// Kind says why a letter was not used.
type Kind string

// The kinds of letters.
const (
	Dead Kind = "dead" // it did not decode, or made the plan fail
	Late Kind = "late" // it came after its window was closed
)

// Letter is one payload or row that a batch left out.
type Letter struct {
	Source    string
	Batch     int64
	Sequence  uint64 // position of the message in its source
	Index     int64  // of the row within the message
	Ordinal   int64  // of the row within the batch's input of that source
	Kind      Kind
	Reason    string
	Payload   []byte          // the original bytes; nil when the source gives rows
	Published time.Time       // zero when the source has none
	Subject   string          // NATS subject of the message
	File      string          // path of the file, for a source of files; Sequence then only tells its letters apart
	Row       json.RawMessage // the decoded row as one object, if it decoded
}

// letter is the form on disk.
type letter struct {
	Source    string          `json:"source"`
	Batch     int64           `json:"batch"`
	Sequence  uint64          `json:"sequence"`
	Index     int64           `json:"index"`
	Ordinal   int64           `json:"ordinal"`
	Kind      Kind            `json:"kind"`
	Reason    string          `json:"reason"`
	Published *time.Time      `json:"published,omitempty"`
	Subject   string          `json:"subject,omitempty"`
	File      string          `json:"file,omitempty"`
	Payload   *string         `json:"payload,omitempty"`        // when it is UTF-8
	Base64    *string         `json:"payload_base64,omitempty"` // when it is not
	Row       json.RawMessage `json:"row,omitempty"`
}

// Place says where the letter comes from: the file, or the number of the message in its source.
func (l Letter) Place() string {
	if l.File != "" {
		return strings.ToValidUTF8(l.File, "\ufffd")
	}
	return strconv.FormatUint(l.Sequence, 10)
}

// MarshalJSON writes the payload as text if it is UTF-8, else in base64.
func (l Letter) MarshalJSON() ([]byte, error) {
	out := letter{
		Source: l.Source, Batch: l.Batch, Sequence: l.Sequence, Index: l.Index, Ordinal: l.Ordinal,
		Kind: l.Kind, Reason: strings.ToValidUTF8(l.Reason, "\ufffd"), Subject: strings.ToValidUTF8(l.Subject, "\ufffd"), Row: l.Row,
		File: strings.ToValidUTF8(l.File, "\ufffd"),
	}
	if !l.Published.IsZero() {
		at := l.Published.UTC()
		out.Published = &at
	}
	if l.Payload != nil {
		text := string(l.Payload)
		if utf8.ValidString(text) {
			out.Payload = &text
		} else {
			text = base64.StdEncoding.EncodeToString(l.Payload)
			out.Base64 = &text
		}
	}
	return json.Marshal(out) //nolint:wrapcheck // of plain fields
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *Letter) UnmarshalJSON(data []byte) error {
	var in letter
	if err := json.Unmarshal(data, &in); err != nil {
		return err //nolint:wrapcheck // Read says where
	}
	*l = Letter{
		Source: in.Source, Batch: in.Batch, Sequence: in.Sequence, Index: in.Index, Ordinal: in.Ordinal,
		Kind: in.Kind, Reason: in.Reason, Subject: in.Subject, File: in.File, Row: in.Row,
	}
	if in.Published != nil {
		l.Published = *in.Published
	}
	switch {
	case in.Payload != nil:
		l.Payload = []byte(*in.Payload)
	case in.Base64 != nil:
		raw, err := base64.StdEncoding.DecodeString(*in.Base64)
		if err != nil {
			return fmt.Errorf("decode payload: %w", err)
		}
		l.Payload = raw
	}
	return nil
}

// Options bound what is kept. The zero value keeps everything.
type Options struct {
	BatchesMax int   // newest files that are kept; 0 for all
	BytesMax   int64 // of all files together; 0 for no bound. The newest file stays, however large
}

// Box is one query's letters. One goroutine writes; reading is done through List and Read.
type Box struct {
	fs      vfs.FS
	dir     string
	options Options
	files   []File // what is there, in ascending order
}

// File says what one batch left.
type File struct {
	Batch int64
	Path  string
	Bytes int64
}

// Open makes the directory and returns the box in it.
func Open(fsys vfs.FS, dir string, o Options) (*Box, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make directory of dead letters: %w", err)
	}
	files, err := List(fsys, dir)
	if err != nil {
		return nil, err
	}
	return &Box{fs: fsys, dir: dir, options: o, files: files}, nil
}

// Write makes a batch's letters durable, in place of what an earlier run of the same batch wrote. No letters
// leave no file. Each letter's Batch is set to batch. Afterwards the oldest files beyond the bounds go.
func (b *Box) Write(batch int64, list []Letter) error {
	if len(list) == 0 {
		return b.drop(batch)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	for _, l := range list {
		l.Batch = batch
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("encode dead letters of batch %d: %w", batch, err)
		}
	}
	path := filepath.Join(b.dir, fmt.Sprintf("%016d.ndjson", batch))
	if err := vfs.WriteFile(b.fs, path, text.Bytes()); err != nil {
		return fmt.Errorf("write dead letters of batch %d: %w", batch, err)
	}
	b.forget(batch)
	b.files = append(b.files, File{Batch: batch, Path: path, Bytes: int64(text.Len())})
	return b.retain()
}

// drop takes away a file of the batch, which another run of it must have left.
func (b *Box) drop(batch int64) error {
	for _, f := range b.files {
		if f.Batch == batch {
			if err := b.remove(f); err != nil {
				return err
			}
			break
		}
	}
	b.forget(batch)
	return nil
}

func (b *Box) forget(batch int64) {
	kept := b.files[:0]
	for _, f := range b.files {
		if f.Batch != batch {
			kept = append(kept, f)
		}
	}
	b.files = kept
}

// retain removes the oldest files beyond the bounds.
func (b *Box) retain() error {
	total := int64(0)
	for _, f := range b.files {
		total += f.Bytes
	}
	for len(b.files) > 1 {
		tooMany := b.options.BatchesMax > 0 && len(b.files) > b.options.BatchesMax
		tooLarge := b.options.BytesMax > 0 && total > b.options.BytesMax
		if !tooMany && !tooLarge {
			return nil
		}
		if err := b.remove(b.files[0]); err != nil {
			return err
		}
		total -= b.files[0].Bytes
		b.files = b.files[1:]
	}
	return nil
}

func (b *Box) remove(f File) error {
	if err := b.fs.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove dead letters of batch %d: %w", f.Batch, err)
	}
	if err := b.fs.SyncDir(b.dir); err != nil {
		return fmt.Errorf("remove dead letters of batch %d: %w", f.Batch, err)
	}
	return nil
}

// List returns the files in dir in the order of their batches. A directory that is not there has none. It may
// run beside a writer.
func List(fsys vfs.FS, dir string) ([]File, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var files []File
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, ".ndjson")
		batch, err := strconv.ParseInt(digits, 10, 64)
		if !ok || err != nil || len(digits) != 16 || batch < 0 {
			continue
		}
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // retention was faster
		}
		if err != nil {
			return nil, fmt.Errorf("list dead letters: %w", err)
		}
		files = append(files, File{Batch: batch, Path: path, Bytes: info.Size()})
	}
	return files, nil
}

// Read returns the letters of one batch; none if the batch left none, or if retention has removed them.
func Read(fsys vfs.FS, dir string, batch int64) ([]Letter, error) {
	path := filepath.Join(dir, fmt.Sprintf("%016d.ndjson", batch))
	data, err := vfs.ReadFile(fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read dead letters of batch %d: %w", batch, err)
	}
	return parse(path, data)
}

func parse(path string, data []byte) ([]Letter, error) {
	var list []Letter
	line := 0
	for text := range bytes.Lines(data) {
		line++
		var l Letter
		if err := json.Unmarshal(text, &l); err != nil {
			return nil, diag.Wrap(diag.StateCorrupt, err, "dead letters %s, line %d", path, line).
				WithHint("the file has been changed since it was written; remove the line or the file")
		}
		list = append(list, l)
	}
	return list, nil
}
