package file

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// A spool keeps the files that a batch may have taken, so that the batch can run again after somebody has deleted,
// moved or replaced them. Available puts every file of the range it offers into the spool, durably, before it names
// the range; so no batch is ever intended over a file that is not kept. Acknowledge, which the engine calls for what
// a durable state version holds, takes them out.
//
// Input files may have gigabytes, and by contract they do not change once they are there. So the default is a second
// name of the same file (a hard link): no byte is copied, whatever the size, and deleting, renaming or replacing the
// input leaves the spooled name with all it had. The price is that a file which is written again in place changes
// under both names. The checksum of the first read notices that: what was only appended is left out, anything else
// is DATA_LOSS. Who has such writers sets spool = 'copy', which pays for every byte once more and is safe from them
// too. A link that can not be made (another file system, another owner's file) becomes a copy by itself.
//
// Layout, below the source's directory:
//
//	spool/<ordinal>.link   the input file itself, under a second name
//	spool/<ordinal>.copy   its bytes; their checksum is in seen.log
//	spool/*.tmp            one that is being made; removed when the spool is opened
//
// A name without .tmp has had its data synced, since the program that wrote the input may not have; one SyncDir at
// the end of an Available makes all new names durable. A linked file is never opened for writing.
type spool struct {
	fs     vfs.FS
	dir    string
	mode   string           // spoolLink, spoolCopy or spoolOff
	owned  bool             // by a query; else it is only looked at
	kept   map[int64]string // suffix of what is there, by ordinal
	made   bool             // the directory is there
	dirty  bool             // names were made since the last SyncDir
	broken error            // a failed sync, after which nothing is kept any more
}

const (
	spoolLink = "link"
	spoolCopy = "copy"
	spoolOff  = "off"

	linkSuffix = ".link"
	copySuffix = ".copy"
	tmpSuffix  = ".tmp"

	copyBytes = 1 << 20 // of one read and write
	workers   = 16      // files that are worked on at a time
)

// What keep answers about a file that is not what was found.
var (
	errGone    = errors.New("is gone")
	errSize    = errors.New("has changed since it was found: its size differs")
	errContent = errors.New("has changed since it was read first: its checksum differs")
	// errRead is about the input and not about the data directory.
	errRead = errors.New("read it")
	errSync = errors.New("sync")
)

// openSpool looks at what is there. Only one that is owned is changed, then or later.
func openSpool(fsys vfs.FS, source, mode string, owned bool) (*spool, error) {
	p := &spool{fs: fsys, dir: filepath.Join(source, "spool"), mode: mode, owned: owned, kept: map[int64]string{}}
	names, err := fsys.List(p.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the spool: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := p.discard(name); err != nil {
				return nil, err
			}
			continue
		}
		suffix := filepath.Ext(name)
		n, err := strconv.ParseInt(strings.TrimSuffix(name, suffix), 10, 64)
		if err == nil && (suffix == copySuffix || suffix == linkSuffix && p.kept[n] == "") {
			p.kept[n] = suffix
		}
	}
	// A process may have died between making a name and syncing it.
	p.dirty = len(p.kept) > 0 && owned
	return p, p.sync()
}

func (p *spool) discard(name string) error {
	if !p.owned {
		return nil
	}
	if err := p.fs.Remove(filepath.Join(p.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("tidy the spool: %w", err)
	}
	return nil
}

func (p *spool) path(n int64, suffix string) string {
	return filepath.Join(p.dir, strconv.FormatInt(n, 10)+suffix)
}

// where returns the path of a kept file and whether it is a copy, or "".
func (p *spool) where(n int64) (path string, copied bool) {
	suffix := p.kept[n]
	if suffix == "" {
		return "", false
	}
	return p.path(n, suffix), suffix == copySuffix
}

// held is what became of one file.
type held struct {
	suffix string  // of its name in the spool, if it is new there
	crc    *uint32 // of a new copy
	err    error   // errGone, errSize or errContent if the file is not what was found
}

// keep puts files into the spool, durably once sync has returned. A disk takes many syncs at once about as fast as one,
// so several files are worked on at a time.
func (p *spool) keep(ctx context.Context, files []entry) ([]held, error) {
	list := make([]held, len(files))
	if !p.owned || p.mode == spoolOff {
		return list, nil
	}
	if p.broken != nil {
		return nil, p.broken
	}
	if !p.made {
		if err := p.fs.MkdirAll(p.dir); err != nil {
			return nil, fmt.Errorf("make the spool: %w", err)
		}
		p.made = true
	}
	var wg sync.WaitGroup
	for w := range min(workers, len(files)) {
		wg.Go(func() {
			for i := w; i < len(files); i += workers {
				if list[i] = p.one(ctx, files[i]); list[i].err != nil && !gone(list[i].err) {
					return
				}
			}
		})
	}
	wg.Wait()
	for i, h := range list {
		if h.suffix != "" {
			p.kept[files[i].Ordinal], p.dirty = h.suffix, true
		}
		if errors.Is(h.err, errSync) {
			p.broken = h.err
		}
	}
	return list, p.broken
}

// gone reports that a file is not what was found.
func gone(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, errSize) || errors.Is(err, errContent)
}

// one keeps one file, unless it is kept already.
func (p *spool) one(ctx context.Context, e entry) (h held) {
	if p.kept[e.Ordinal] != "" {
		return held{}
	}
	if err := context.Cause(ctx); err != nil {
		return held{err: err}
	}
	suffix, linked := linkSuffix, false
	var err error
	if p.mode == spoolLink {
		if linked, err = p.link(e); err != nil {
			return held{err: err}
		}
	}
	if !linked {
		suffix = copySuffix
		if h.crc, err = p.copy(ctx, e); err != nil {
			return held{err: err}
		}
	}
	name := p.path(e.Ordinal, suffix)
	if err := p.fs.Rename(name+tmpSuffix, name); err != nil {
		return held{err: fmt.Errorf("spool %q: %w", e.Path, err)}
	}
	h.suffix = suffix
	return h
}

// link gives the file a second name in the spool. It returns false if that can not be done here.
func (p *spool) link(e entry) (bool, error) {
	tmp := p.path(e.Ordinal, linkSuffix) + tmpSuffix
	err := p.fs.Link(e.Path, tmp)
	if errors.Is(err, fs.ErrExist) { // of an attempt that failed later on
		if err = p.discard(filepath.Base(tmp)); err == nil {
			err = p.fs.Link(e.Path, tmp)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, errGone
	}
	if err != nil {
		return false, nil //nolint:nilerr // a copy does it too, and says what is wrong if it does not
	}
	info, err := p.fs.Stat(tmp)
	if err != nil {
		return false, fmt.Errorf("spool %q: %w", e.Path, err)
	}
	if info.Size() != e.Size {
		return false, errors.Join(errSize, p.discard(filepath.Base(tmp)))
	}
	f, err := p.fs.Open(tmp)
	if err != nil {
		return false, errors.Join(fmt.Errorf("%w: %w", errRead, err), p.discard(filepath.Base(tmp)))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return false, fmt.Errorf("%w %q: %w", errSync, e.Path, err)
	}
	return true, nil
}

// copy writes the file's bytes into the spool and syncs them.
func (p *spool) copy(ctx context.Context, e entry) (*uint32, error) {
	in, err := p.fs.Open(e.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errGone
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRead, err)
	}
	tmp := p.path(e.Ordinal, copySuffix) + tmpSuffix
	out, err := p.fs.Create(tmp)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("spool %q: %w", e.Path, err), in.Close())
	}
	size, crc, err := transfer(ctx, out, in, e.Size)
	if err == nil {
		if err = out.Sync(); err != nil {
			err = fmt.Errorf("%w the copy of %q: %w", errSync, e.Path, err)
		}
	}
	if err = errors.Join(err, out.Close(), in.Close()); err == nil && size != e.Size {
		err = errSize
	}
	if err == nil && e.CRC != nil && *e.CRC != crc {
		err = errContent
	}
	switch {
	case err == nil:
		return &crc, nil
	case errors.Is(err, errSize), errors.Is(err, errContent):
		return nil, errors.Join(err, p.discard(filepath.Base(tmp)))
	}
	return nil, errors.Join(fmt.Errorf("spool %q: %w", e.Path, err), p.discard(filepath.Base(tmp)))
}

// transfer copies until the end, or until more than sizeMax bytes have come, and returns how many and their checksum.
func transfer(ctx context.Context, out io.Writer, in io.Reader, sizeMax int64) (size int64, crc uint32, err error) {
	buf := make([]byte, min(copyBytes, sizeMax+1))
	for size <= sizeMax {
		if err := context.Cause(ctx); err != nil {
			return size, crc, err
		}
		n, err := in.Read(buf)
		if n > 0 {
			crc = crc32.Update(crc, castagnoli(), buf[:n])
			size += int64(n)
			if _, err := out.Write(buf[:n]); err != nil {
				return size, crc, err //nolint:wrapcheck // copy wraps it
			}
		}
		if errors.Is(err, io.EOF) {
			return size, crc, nil
		}
		if err != nil {
			return size, crc, fmt.Errorf("%w: %w", errRead, err)
		}
	}
	return size, crc, nil
}

// sync makes the names that keep has made durable.
func (p *spool) sync() error {
	if p.broken != nil || !p.dirty {
		return p.broken
	}
	if err := p.fs.SyncDir(p.dir); err != nil {
		p.broken = fmt.Errorf("sync the spool: %w", err)
		return p.broken
	}
	p.dirty = false
	return nil
}

// release removes what is kept of files up to an ordinal. One that a crash brings back goes the next time.
func (p *spool) release(upTo int64) error {
	if !p.owned {
		return nil
	}
	for n, suffix := range p.kept {
		if n > upTo {
			continue
		}
		if err := p.fs.Remove(p.path(n, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("free the spool: %w", err)
		}
		delete(p.kept, n)
	}
	return nil
}

// clearSpool removes everything: what is there belongs to a log that is gone.
func clearSpool(fsys vfs.FS, source string) error {
	dir := filepath.Join(source, "spool")
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the spool: %w", err)
	}
	for _, name := range names {
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("clear the spool: %w", err)
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("clear the spool: %w", err)
	}
	return nil
}

// hold puts the files of a range into the spool, before anybody is told of the range. The caller holds s.mu.
func (s *source) hold(ctx context.Context, files []entry) error {
	for _, e := range files {
		if err := s.tooLarge(e); err != nil {
			return err
		}
	}
	list, err := s.spool.keep(ctx, files)
	if err != nil {
		return fmt.Errorf("source %q: %w", s.cfg.Name, err)
	}
	crcs := map[int64]uint32{}
	for i, e := range files {
		switch crc, err := list[i].crc, list[i].err; {
		case gone(err) && s.skip: // Read counts it
		case gone(err):
			return s.lost(e, err)
		case errors.Is(err, errRead):
			return diag.Wrap(diag.ReadFailed, err, "source %q: file %q can not be spooled", s.cfg.Name, e.Path)
		case err != nil:
			return fmt.Errorf("source %q: %w", s.cfg.Name, err)
		case crc != nil && e.CRC == nil:
			crcs[e.Ordinal] = *crc
		}
	}
	if err := s.spool.sync(); err != nil {
		return err
	}
	if len(crcs) == 0 {
		return nil
	}
	return s.log.add(line{Read: crcs})
}

// spooled returns where a file is kept, or "".
func (s *source) spooled(e entry) (path string, copied bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spool == nil {
		return "", false
	}
	return s.spool.where(e.Ordinal)
}

func (s *source) tooLarge(e entry) error {
	if e.Size <= arenaMax {
		return nil
	}
	return diag.New(diag.ReadFailed, "source %q: file %q has %d bytes, the most is 2 GiB", s.cfg.Name, e.Path, e.Size).
		WithHint("split the file")
}

// A taker reads a file into memory of its own, at most as many bytes as the file had when it was found, and returns how
// many there were and their checksum. It may be called again, with another file, when the first turned out to be wrong.
type taker func(r io.Reader) (size int64, crc uint32, err error)

// load reads one file whole, from the spool if it is kept there, and returns its checksum. It fails with DATA_LOSS if the
// file is nowhere what it was, and with STATE_CORRUPT if a copy is damaged.
func (s *source) load(e entry, take taker) (crc uint32, err error) {
	if err := s.tooLarge(e); err != nil {
		return 0, err
	}
	place, copied := s.spooled(e)
	var inSpool error
	if place != "" {
		crc, err := s.try(place, e, take)
		changed := errors.Is(err, errSize) || errors.Is(err, errContent)
		switch {
		case err == nil:
			return crc, nil
		case changed && copied:
			return 0, diag.New(diag.StateCorrupt, "source %q: spool file %s of %q is damaged", s.cfg.Name, place, e.Path).
				WithHint("restore the file, or start the query in a new data dir")
		case changed:
			inSpool = err
		case !errors.Is(err, errGone):
			return 0, err
		}
	}
	crc, err = s.try(e.Path, e, take)
	switch {
	case err == nil:
		return crc, nil
	case inSpool != nil && gone(err):
		return 0, s.lost(e, inSpool).WithNote("%s is the same file under a second name", place).
			WithNote("spool = 'copy' keeps the bytes of files that are written again in place")
	case gone(err):
		return 0, s.lost(e, err)
	}
	return 0, err
}

// try reads a file under one of its names and checks that it is what it was. What was appended to a file whose
// checksum is known is left out.
func (s *source) try(path string, e entry, take taker) (crc uint32, err error) {
	f, err := s.cfg.FS.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, errGone
	}
	if err != nil {
		return 0, diag.Wrap(diag.ReadFailed, err, "source %q: file %q can not be opened", s.cfg.Name, path)
	}
	size, crc, err := take(f)
	grown := false
	if err == nil && size == e.Size {
		grown, err = more(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, diag.Wrap(diag.ReadFailed, err, "source %q: file %q can not be read", s.cfg.Name, path)
	}
	switch {
	case size < e.Size, grown && e.CRC == nil:
		return 0, errSize
	case e.CRC == nil || crc == *e.CRC:
		return crc, nil
	case grown:
		return 0, errSize
	}
	return 0, errContent
}

// more reports that something follows what has been read.
func more(r io.Reader) (bool, error) {
	var one [1]byte
	n, err := io.ReadFull(r, one[:])
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n > 0, err //nolint:wrapcheck // try wraps it
}
