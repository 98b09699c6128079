package file

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/pool"
	"github.com/tidemill/tidemill/stream"
)

// Connector returns the file connector.
func Connector() stream.SourceConnector {
	return stream.SourceConnector{
		Files: true,
		Spec: stream.Spec{
			Name:    "file",
			Summary: "Files that appear in a folder: ndjson, json, csv, text and arrow, also as .gz, and parquet.",
			Guarantee: "Replays any range: what a batch takes is kept (a hard link, or a copy) until a state version holds it, " +
				"so input files may be deleted, moved or replaced; one that is written again in place is noticed, or kept with spool = 'copy'.",
			Fields: []stream.Field{
				{Name: "path", Type: stream.String, Required: true, Fixed: true, Summary: "A file, a folder, or a pattern with *, ?, [a-z] and **. " +
					"Names that begin with . or _ or end in .tmp are left out."},
				{Name: "max_files_per_batch", Type: stream.Int, Min: 1, Max: ordinalMax, Summary: "Most files that one batch takes."},
				{Name: "poll_interval", Type: stream.Duration, Default: "1 second", Min: int64(time.Millisecond), Max: int64(24 * time.Hour),
					Summary: "How often the folder is looked at while nothing is new."},
				{Name: "spool", Type: stream.Enum, Values: []string{spoolLink, spoolCopy, spoolOff}, Default: spoolLink,
					Summary: "How a file that a batch takes is kept until a state version holds its rows: link gives it a second name " +
						"under the data directory, which costs no bytes and survives deleting, renaming and replacing it (a copy is made " +
						"where the file system can not link); copy survives writing in place too; off trusts the files to stay."},
			},
			Example: "CREATE SOURCE visits (user_id BIGINT, url VARCHAR, ts TIMESTAMP)\n" +
				"  WITH (connector = 'file', path = 'visits/*.ndjson', format = 'ndjson');",
		},
		Open: func(_ context.Context, cfg stream.SourceConfig) (stream.Source, error) {
			return open(cfg)
		},
	}
}

// source reads files. Its log is opened by the first call that needs it.
type source struct {
	cfg     stream.SourceConfig
	pattern string
	format  string
	skip    bool          // on_data_loss = 'skip'
	arenas  stream.Arenas // of whole batches
	pieces  stream.Arenas // of those that are handed over in pieces
	columns pool.Memory   // of Parquet files

	mu     sync.Mutex // guards what follows; Available and Read may run beside each other
	log    *seenLog
	spool  *spool
	acked  int64
	closed bool
}

func open(cfg stream.SourceConfig) (*source, error) {
	s := &source{cfg: cfg, pattern: cfg.Options.String("path"), format: cfg.Options.String("format"),
		skip: cfg.Options.String("on_data_loss") == "skip"}
	if strings.HasSuffix(s.pattern, ".parquet") {
		s.format = formatParquet
	}
	if _, err := filepath.Match(s.pattern, ""); err != nil || s.pattern == "" {
		return nil, diag.New(diag.BadOption, "source %q: path %q is not a pattern", cfg.Name, s.pattern).OfOption("path").
			WithHint("write a file, a folder, or a pattern such as 'in/*.ndjson'; a [ needs its ]")
	}
	return s, nil
}

// memory is where files and columns of Parquet lie. A batch run or a look reads once and gives nothing back.
func (s *source) memory() memory.Allocator {
	if s.cfg.Query == "" {
		return memory.DefaultAllocator
	}
	return &s.columns
}

// opened returns the log. The caller holds s.mu.
func (s *source) opened() (*seenLog, error) {
	if s.closed {
		return nil, errors.New("the source is closed")
	}
	if s.log == nil && s.cfg.Beside {
		return s.view()
	}
	if s.log == nil {
		l, err := openLog(s.cfg.FS, s.cfg.Dir)
		if err != nil {
			return nil, err
		}
		p, err := openSpool(s.cfg.FS, s.cfg.Dir, cmp.Or(s.cfg.Options.String("spool"), spoolLink),
			s.cfg.Query != "") // a batch run or a look reads once and keeps nothing
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		s.log, s.spool = l, p
	}
	return s.log, nil
}

// Start implements stream.Source. The identity is the seen-file log's, which begins with the first look at the folder.
func (s *source) Start(ctx context.Context) (from stream.Offset, identity string, err error) {
	if err := context.Cause(ctx); err != nil {
		return "", "", err
	}
	if _, err := glob(s.cfg.FS, s.pattern); err != nil {
		return "", "", s.noPath(err)
	}
	return "0", "", nil
}

func (s *source) noPath(err error) error {
	e := diag.Wrap(diag.ReadFailed, err, "source %q: path %q can not be looked at", s.cfg.Name, s.pattern)
	if errors.Is(err, fs.ErrNotExist) {
		return e.WithHint("make the folder before the query starts; paths are relative to where the process runs")
	}
	return e
}

func (s *source) position(o stream.Offset) (int64, error) {
	n, err := strconv.ParseInt(string(o), 10, 64)
	if err != nil || n < 0 || offset(n) != o {
		return 0, diag.New(diag.CheckpointUnusable, "source %q: %q is not an offset of a file source", s.cfg.Name, o)
	}
	return n, nil
}

func offset(n int64) stream.Offset { return stream.Offset(strconv.FormatInt(n, 10)) }

// Available looks at the folder, gives new files their ordinals, durably, and counts how many fit the limit.
func (s *source) Available(ctx context.Context, from stream.Offset, identity string, limit stream.Limit) (stream.Available, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := s.position(from)
	if err != nil {
		return stream.Available{}, err
	}
	until := int64(ordinalMax)
	if limit.Until != "" {
		if until, err = s.position(limit.Until); err != nil {
			return stream.Available{}, err
		}
	}
	l, err := s.opened()
	if err == nil && s.cfg.Beside && !l.knows(at, until) {
		l, err = s.view()
	}
	if err != nil {
		return stream.Available{}, err
	}
	if l.broken != nil {
		return stream.Available{}, l.broken
	}
	if identity != "" && identity != l.id {
		return stream.Available{}, s.replaced(identity, l.id)
	}
	if at >= l.next {
		return stream.Available{}, diag.New(diag.DataLoss, "source %q: file %d has been read, but the seen-file log ends at %d",
			s.cfg.Name, at, l.next-1).WithHint("restore %s, or start the query in a new data dir", l.path())
	}
	present, err := s.present(ctx, l)
	if err != nil {
		return stream.Available{}, err
	}
	list, err := s.fit(l.after(at, until), present, limit)
	if err != nil {
		return stream.Available{}, err
	}
	a := stream.Available{To: from, Identity: l.id}
	if len(list) == 0 {
		s.arenas.Drop() // memory of large files is not held while nothing comes
		s.pieces.Drop()
		s.columns.Drop()
		return a, nil
	}
	if err := s.hold(ctx, list); err != nil {
		return stream.Available{}, err
	}
	last := list[len(list)-1].Ordinal
	a.To, a.Behind = offset(last), l.next-1-last
	return a, nil
}

// fit takes files as long as the limit allows.
func (s *source) fit(list []entry, present map[string]bool, limit stream.Limit) ([]entry, error) {
	files, bytes := int64(0), int64(0)
	for _, e := range list {
		if full := limit.Files > 0 && files >= limit.Files || limit.Bytes > 0 && bytes+e.Size > limit.Bytes && files > 0; full {
			break
		}
		if kept, _ := s.spool.where(e.Ordinal); !present[e.Path] && kept == "" && !s.skip {
			return nil, s.lost(e, errGone)
		}
		files, bytes = files+1, bytes+e.Size
	}
	return list[:files], nil
}

func (s *source) replaced(was, is string) error {
	return diag.New(diag.SourceReplaced, "source %q: the seen-file log is another one (%s) than the query began with (%s)",
		s.cfg.Name, is, was).WithHint("restore the data dir as a whole, or start the query in a new one")
}

func (s *source) lost(e entry, what error) *diag.Error {
	return diag.New(diag.DataLoss, "source %q: file %q (number %d) %v", s.cfg.Name, e.Path, e.Ordinal, what).
		WithHint("put the file back as it was (%d bytes), or set on_data_loss = 'skip' to count it as lost and go on", e.Size)
}

// view returns the log as the source that owns it has written it by now. The caller holds s.mu.
func (s *source) view() (*seenLog, error) {
	l, err := viewLog(s.cfg.FS, s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	if s.spool, err = openSpool(s.cfg.FS, s.cfg.Dir, spoolOff, false); err != nil {
		return nil, err
	}
	s.log = l
	return l, nil
}

// present returns the paths that are there. Whoever owns the log writes files that are new into it.
func (s *source) present(ctx context.Context, l *seenLog) (map[string]bool, error) {
	if !s.cfg.Beside {
		return s.discover(ctx, l)
	}
	paths, err := glob(s.cfg.FS, s.pattern)
	if err != nil {
		return nil, s.noPath(err)
	}
	present := make(map[string]bool, len(paths))
	for _, p := range paths {
		present[p] = true
	}
	return present, nil
}

// discover writes files that are new into the log and returns the paths that are there.
func (s *source) discover(ctx context.Context, l *seenLog) (map[string]bool, error) {
	paths, err := glob(s.cfg.FS, s.pattern)
	if err != nil {
		return nil, s.noPath(err)
	}
	present := make(map[string]bool, len(paths))
	var found []entry
	for _, p := range paths {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		present[p] = true
		if l.byPath[p] != nil {
			continue
		}
		info, err := s.cfg.FS.Stat(p)
		if err != nil {
			if ignoreGone(err) == nil {
				continue
			}
			return nil, s.noPath(err)
		}
		found = append(found, entry{Path: p, Size: info.Size(), MTime: info.ModTime().UnixMicro()})
	}
	slices.SortFunc(found, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.MTime, b.MTime), cmp.Compare(a.Path, b.Path))
	})
	if l.next+int64(len(found)) > ordinalMax {
		return nil, diag.New(diag.ReadFailed, "source %q: more than %d files", s.cfg.Name, ordinalMax).
			WithHint("start the query in a new data dir")
	}
	for i := range found {
		found[i].Ordinal = l.next + int64(i)
	}
	if len(found) > 0 {
		if err := l.add(line{Found: found}); err != nil {
			return nil, err
		}
	}
	return present, l.compact(s.acked, present)
}

// Wait returns at once if a known file follows from, else after the poll interval.
func (s *source) Wait(ctx context.Context, from stream.Offset) error {
	at, err := s.position(from)
	if err != nil {
		return err
	}
	s.mu.Lock()
	more := s.log != nil && s.log.next-1 > at
	s.mu.Unlock()
	if more {
		return context.Cause(ctx)
	}
	interval := s.cfg.Options.Duration("poll_interval")
	if interval <= 0 {
		interval = time.Second
	}
	return s.cfg.Clock.Sleep(ctx, interval) //nolint:wrapcheck // only the context's error
}

// Acknowledge frees the spool of files up to to, and lets the log forget them once they are removed from the folder.
func (s *source) Acknowledge(_ context.Context, to stream.Offset) error {
	at, err := s.position(to)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked = max(s.acked, at)
	if _, err := s.opened(); err != nil {
		return err
	}
	return s.spool.release(at)
}

func (s *source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.log == nil {
		return nil
	}
	err := s.log.close()
	s.log = nil
	return err
}
