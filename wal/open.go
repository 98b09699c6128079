package wal

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// Recovery is what Open found. All of it is durable.
type Recovery struct {
	Entries int      // retained ones
	Last    Position // of the newest frame, 0 if there was none yet
	Torn    *Torn    // what was cut off, or nil
}

// Open opens the log in o.Dir for its one owner, or makes it. It reads all of it, cuts a torn tail off and
// makes durable what is left. If it is damaged the error is a *diag.Error with code LOG_CORRUPT around a
// *CorruptError, and nothing on disk has changed. The caller closes the Log.
func Open(o Options) (*Log, *Recovery, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, nil, failed("make log", o.Dir, err)
	}
	found, err := scanDir(o.FS, o.Dir, func(Position, Entry) error { return nil })
	if err != nil {
		return nil, nil, err
	}
	if len(found.segments) > 0 && found.segments[0].id != o.ID {
		return nil, nil, wrongID(o, found.segments[0].id)
	}
	if err := removeGarbage(o); err != nil {
		return nil, nil, err
	}
	l := &Log{o: o, segments: found.segments}
	if len(found.segments) == 0 {
		err = l.create()
	} else {
		err = l.resume(found)
	}
	if err != nil {
		return nil, nil, err
	}
	l.durable = l.last().next - 1
	l.marked = l.durable > found.recorded || l.durable == 0
	return l, &Recovery{Entries: found.entries, Last: l.durable, Torn: found.torn}, nil
}

func wrongID(o Options, id [16]byte) error {
	return diag.New(diag.CheckpointUnusable, "the log in %s belongs to query %s, expected %s",
		o.Dir, uuid.UUID(id), uuid.UUID(o.ID)).
		WithHint("the folder was mixed up with another query's; put the right one in its place")
}

func scanDir(fsys vfs.FS, dir string, fn func(Position, Entry) error) (*scanned, error) {
	open, err := openSegments(fsys, dir)
	if err != nil {
		return nil, err
	}
	found, err := scan(open, fn)
	return found, errors.Join(err, closeSegments(open))
}

func removeGarbage(o Options) error {
	_, garbage, err := listSegments(o.FS, o.Dir)
	if err != nil {
		return err
	}
	for _, path := range garbage {
		if err := o.FS.Remove(path); err != nil {
			return fmt.Errorf("clean log: %w", err)
		}
	}
	return nil
}

func (l *Log) create() (err error) {
	s := segment{path: segmentPath(l.o.Dir, 1), id: l.o.ID, number: 1, first: 1, next: 1}
	if l.file, err = makeSegment(l.o.FS, &s, nil); err != nil {
		return failed("make log", s.path, err)
	}
	l.segments = []segment{s}
	return nil
}

// resume makes durable what was found and opens the last segment for writing.
func (l *Log) resume(found *scanned) (err error) {
	s := l.last()
	if t := found.torn; t != nil {
		t.Copy = t.Path + tornSuffix
		if err := copyRange(l.o.FS, s.path, t.Copy, [2]int64{t.Offset, t.Offset + t.Bytes}); err != nil {
			return failed("keep torn tail of log", s.path, err)
		}
	}
	if found.torn != nil || found.recorded > found.durable {
		// New pages: those in the cache may be marked clean though a failed sync never wrote them.
		if err := copyRange(l.o.FS, s.path, s.path, [2]int64{0, s.size}); err != nil {
			return failed("renew log", s.path, err)
		}
	} else if err := l.o.FS.SyncDir(l.o.Dir); err != nil { // A rename may have been seen and not be durable.
		return failed("sync log", l.o.Dir, err)
	}
	if l.file, err = l.o.FS.Append(s.path); err != nil {
		return failed("open log", s.path, err)
	}
	return nil
}

// copyRange makes the file to, in one step and durable, out of the bytes of from between the two offsets.
func copyRange(fsys vfs.FS, from, to string, between [2]int64) error {
	f, err := fsys.Open(from)
	if err != nil {
		return err
	}
	part := io.NewSectionReader(f, between[0], between[1]-between[0])
	tmp := to + tmpSuffix
	err = makeFile(fsys, tmp, func(w vfs.File) error {
		n, err := io.Copy(w, part)
		if err == nil && n < part.Size() {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, to); err != nil {
		return err
	}
	return fsys.SyncDir(filepath.Dir(to))
}
