package benchmarks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"

	"github.com/tidemill/tidemill/sources/file"
	"github.com/tidemill/tidemill/stream"
)

// pieces is what the sources of the suites without a broker have: the rows of the last step, made before
// the clock runs and forgotten with the next step, so that the memory of the process is the engine's. A recovery
// has the rows of older steps made again. Offsets are the numbers of steps, counted from 1.
type pieces struct {
	make feed
	mu   sync.Mutex
	step int                     // guarded by mu
	rows map[string]arrow.Record // by source; guarded by mu
	keys []string                // columns that name a row of the sink opened last; nil: rows are only added

	sinks []*keptSink
}

// put makes rows those of step n, counted from 0. It takes them over.
func (p *pieces) put(n int, rows map[string]arrow.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rows {
		r.Release()
	}
	p.rows, p.step = rows, n+1
}

// take returns the last step and the rows that a source has in it, retained, or nil.
func (p *pieces) take(source string) (int, arrow.Record) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rows[source]
	if r == nil || r.NumRows() == 0 {
		return p.step, nil
	}
	r.Retain()
	return p.step, r
}

// endSinks ends the files of all sinks.
func (p *pieces) endSinks() error {
	var faults []error
	for _, s := range p.sinks {
		faults = append(faults, s.Close())
	}
	return errors.Join(faults...)
}

// again returns the rows that a source has in the step that ends at an offset, for the caller to release.
func (p *pieces) again(source string, to stream.Offset) (arrow.Record, error) {
	step, rec := p.take(source)
	want, err := strconv.Atoi(string(to))
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", source, err)
	}
	if rec != nil && step == want {
		return rec, nil
	}
	if rec != nil {
		rec.Release()
	}
	for name, made := range p.make(want - 1) {
		if name == source {
			rec = made
			continue
		}
		made.Release()
	}
	return rec, nil
}

const (
	piecesName = "pieces"
	keptName   = "kept"
)

// registry has the connectors of a task.
func (p *pieces) registry(dir string) stream.Registry {
	return stream.Registry{
		Sources: map[string]stream.SourceConnector{"file": file.Connector(), piecesName: {Typed: true,
			Spec: stream.Spec{Name: piecesName, Summary: "Rows that a benchmark makes.", Guarantee: "None."},
			Open: func(_ context.Context, cfg stream.SourceConfig) (stream.Source, error) {
				return &pieceSource{pieces: p, name: cfg.Name}, nil
			}}},
		Sinks: map[string]stream.SinkConnector{keptName: {Modes: []stream.Mode{stream.Append, stream.Update},
			Spec: stream.Spec{Name: keptName, Summary: "Arrow files for a comparison.", Guarantee: "None."},
			Open: func(_ context.Context, cfg stream.SinkConfig) (stream.Sink, error) {
				p.keys = nil
				if cfg.Mode == stream.Update && !cfg.Unnamed {
					p.keys = []string{}
				}
				for _, k := range cfg.Keys {
					p.keys = append(p.keys, cfg.Schema.Field(k).Name)
				}
				sink := &keptSink{dir: filepath.Join(dir, cfg.Name)}
				p.sinks = append(p.sinks, sink)
				return sink, nil
			}}},
	}
}

// pieceSource is one query's view of a source of pieces.
type pieceSource struct {
	pieces *pieces
	name   string
}

func (s *pieceSource) Start(context.Context) (from stream.Offset, identity string, err error) {
	return "0", piecesName, nil
}

func (s *pieceSource) Available(
	_ context.Context, from stream.Offset, _ string, _ stream.Limit,
) (stream.Available, error) {
	step, rec := s.pieces.take(s.name)
	if rec == nil {
		return stream.Available{To: from, Identity: piecesName}, nil
	}
	rec.Release()
	return stream.Available{To: stream.Offset(strconv.Itoa(step)), Identity: piecesName}, nil
}

// Read gives the rows of one step: each batch takes all of it, and the next is put when every query has had it.
func (s *pieceSource) Read(_ context.Context, r stream.Range) (*stream.Input, error) {
	if r.From == r.To {
		return &stream.Input{}, nil
	}
	rec, err := s.pieces.again(s.name, r.To)
	if err != nil {
		return nil, err
	}
	return &stream.Input{Rows: []arrow.Record{rec}}, nil
}

func (s *pieceSource) Acknowledge(context.Context, stream.Offset) error { return nil }

func (s *pieceSource) Close() error { return nil }

// keptSink writes results to Arrow files that nobody syncs: the cheapest sink that lets the result be
// verified. A new file begins when the columns change.
type keptSink struct {
	dir    string
	schema *arrow.Schema
	out    *ipc.Writer
	buffer *bufio.Writer
	file   *os.File
	files  int
}

func (s *keptSink) Open(context.Context, stream.Owner) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the sink's folder: %w", err)
	}
	return nil
}

func (s *keptSink) Write(_ context.Context, d stream.Delivery) error {
	for _, rec := range d.Result.Records {
		if s.out == nil || !s.schema.Equal(rec.Schema()) {
			if err := s.next(rec.Schema()); err != nil {
				return err
			}
		}
		if err := s.out.Write(rec); err != nil {
			return fmt.Errorf("write the result: %w", err)
		}
	}
	return nil
}

// keptFile names the files of a sink in the order in which they were written.
func keptFile(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("%06d.arrow", n)) }

func (s *keptSink) next(schema *arrow.Schema) error {
	err := s.Close()
	if err != nil {
		return err
	}
	if s.file, err = os.Create(keptFile(s.dir, s.files)); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	s.files++
	s.schema, s.buffer = schema, bufio.NewWriterSize(s.file, 1<<20)
	s.out = ipc.NewWriter(s.buffer, ipc.WithSchema(schema))
	return nil
}

func (s *keptSink) Close() error {
	if s.out == nil {
		return nil
	}
	err := errors.Join(s.out.Close(), s.buffer.Flush(), s.file.Close())
	s.out = nil
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// readKept lends every record that a sink has written to use, in the order of the stream.
func readKept(dir string, use func(arrow.Record) error) error {
	for n := 0; ; n++ {
		f, err := os.Open(keptFile(dir, n))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the result: %w", err)
		}
		if err := errors.Join(readRecords(bufio.NewReaderSize(f, 1<<20), use), f.Close()); err != nil {
			return fmt.Errorf("read the result: %w", err)
		}
	}
}

func readRecords(in io.Reader, use func(arrow.Record) error) error {
	r, err := ipc.NewReader(in)
	if err != nil {
		return err //nolint:wrapcheck // readKept says what
	}
	defer r.Release()
	for r.Next() {
		if err := use(r.Record()); err != nil {
			return err
		}
	}
	if err := r.Err(); err != nil && !errors.Is(err, io.EOF) {
		return err //nolint:wrapcheck // readKept says what
	}
	return nil
}
