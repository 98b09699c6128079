// Package memory is a source whose rows a test adds by hand. The rows live in a Hub, which outlives the
// queries that read it, so that a query can be stopped and started again over the same input. Nothing is
// durable: with the process the rows are gone, and a query that then asks for them gets DATA_LOSS.
package memory

import (
	"context"
	"slices"
	"strconv"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// Hub holds the rows of memory sources by the source's name. All methods may be called concurrently.
type Hub struct {
	mu     sync.Mutex
	topics map[string]*topic
}

// topic is all that has been added to one source.
type topic struct {
	records []arrow.Record
	ends    []int64       // rows up to the end of each record
	more    chan struct{} // closed and replaced when rows are added
}

// NewHub returns an empty Hub.
func NewHub() *Hub { return &Hub{topics: map[string]*topic{}} }

// topic returns the source's rows. The caller holds h.mu.
func (h *Hub) topic(name string) *topic {
	t, ok := h.topics[name]
	if !ok {
		t = &topic{more: make(chan struct{})}
		h.topics[name] = t
	}
	return t
}

// Add appends rows to a source, all of them or none. Each row has a value for every column that is not
// METADATA, in order: nil, bool, an integer, a float, a string, a list ([]any), or a map (map[string]any), as
// they come from YAML or JSON. Times are text: 'YYYY-MM-DD HH:MM:SS[.ffffff]'. A reader sees all rows of one
// Add at once.
func (h *Hub) Add(name string, columns []stream.Column, rows [][]any) error {
	columns = slices.DeleteFunc(slices.Clone(columns), func(c stream.Column) bool { return c.Metadata })
	rec, err := build(name, columns, rows)
	if err != nil {
		return err
	}
	defer rec.Release()
	h.AddRecord(name, rec)
	return nil
}

// AddRecord appends a record to a source; its columns are found by name when they are read. The Hub retains
// it.
func (h *Hub) AddRecord(name string, rec arrow.Record) {
	if rec.NumRows() == 0 {
		return
	}
	rec.Retain()
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.topic(name)
	t.ends = append(t.ends, t.rows()+rec.NumRows())
	t.records = append(t.records, rec)
	close(t.more)
	t.more = make(chan struct{})
}

// Rows returns how many rows have been added to a source.
func (h *Hub) Rows(name string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.topic(name).rows()
}

// Release drops all rows.
func (h *Hub) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		for _, r := range t.records {
			r.Release()
		}
		t.records, t.ends = nil, nil
	}
}

func (t *topic) rows() int64 {
	if len(t.ends) == 0 {
		return 0
	}
	return t.ends[len(t.ends)-1]
}

// slices returns the parts of records that hold the rows from (excluded) to to (included), for the caller to
// release.
func (t *topic) slices(from, to int64) []arrow.Record {
	var parts []arrow.Record
	for i, r := range t.records {
		start := t.ends[i] - r.NumRows()
		lo, hi := max(from, start), min(to, t.ends[i])
		if lo < hi {
			parts = append(parts, r.NewSlice(lo-start, hi-start))
		}
	}
	return parts
}

// Connector returns the connector of memory sources that read from hub.
func Connector(hub *Hub) stream.SourceConnector {
	return stream.SourceConnector{
		Spec: stream.Spec{
			Name:      "memory",
			Summary:   "Rows that a test adds while the query runs.",
			Guarantee: "Replays any range for as long as the process lives.",
			Example: "CREATE SOURCE src (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '10 seconds')\n" +
				"  WITH (connector = 'memory');",
		},
		Typed: true,
		Open: func(_ context.Context, cfg stream.SourceConfig) (stream.Source, error) {
			return open(hub, cfg), nil
		},
	}
}

// source reads one topic of a Hub. It has no state of its own; an offset is a row count in decimal.
type source struct {
	hub    *Hub
	cfg    stream.SourceConfig
	schema *arrow.Schema
}

func open(hub *Hub, cfg stream.SourceConfig) *source {
	fields := make([]arrow.Field, len(cfg.Columns))
	for i, c := range cfg.Columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true}
	}
	return &source{hub: hub, cfg: cfg, schema: arrow.NewSchema(fields, nil)}
}

const identity = "memory"

func (s *source) Start(context.Context) (from stream.Offset, id string, err error) {
	return "0", identity, nil
}

func (s *source) Available(_ context.Context, from stream.Offset, id string, limit stream.Limit) (stream.Available, error) {
	if id != "" && id != identity {
		return stream.Available{}, diag.New(diag.SourceReplaced, "source %q is a memory source, but the query began with %q",
			s.cfg.Name, id)
	}
	at, err := s.position(from)
	if err != nil {
		return stream.Available{}, err
	}
	have := s.hub.Rows(s.cfg.Name)
	if at > have {
		return stream.Available{}, s.lost(at, have)
	}
	to := have
	if limit.Rows > 0 {
		to = min(to, at+limit.Rows)
	}
	if limit.Until != "" {
		until, err := s.position(limit.Until)
		if err != nil {
			return stream.Available{}, err
		}
		to = max(at, min(to, until))
	}
	return stream.Available{To: offset(to), Identity: identity, Behind: have - to}, nil
}

func (s *source) lost(at, have int64) error {
	return diag.New(diag.DataLoss, "source %q: row %d has been read, but only %d rows are in memory", s.cfg.Name, at, have).
		WithHint("memory sources live as long as their process: start the query in a new data dir")
}

func (s *source) position(o stream.Offset) (int64, error) {
	n, err := strconv.ParseInt(string(o), 10, 64)
	if err != nil || n < 0 || offset(n) != o {
		return 0, diag.New(diag.CheckpointUnusable, "source %q: %q is not an offset of a memory source", s.cfg.Name, o)
	}
	return n, nil
}

func offset(n int64) stream.Offset { return stream.Offset(strconv.FormatInt(n, 10)) }

// Wait returns when rows stand after from.
func (s *source) Wait(ctx context.Context, from stream.Offset) error {
	at, err := s.position(from)
	if err != nil {
		return err
	}
	for {
		s.hub.mu.Lock()
		t := s.hub.topic(s.cfg.Name)
		have, more := t.rows(), t.more
		s.hub.mu.Unlock()
		if have > at {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-more:
		}
	}
}

func (s *source) Read(ctx context.Context, r stream.Range) (*stream.Input, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	from, err := s.position(r.From)
	if err != nil {
		return nil, err
	}
	to, err := s.position(r.To)
	if err != nil {
		return nil, err
	}
	s.hub.mu.Lock()
	t := s.hub.topic(s.cfg.Name)
	have, parts := t.rows(), t.slices(from, to)
	s.hub.mu.Unlock()
	defer func() {
		for _, p := range parts {
			p.Release()
		}
	}()
	if to > have {
		return nil, s.lost(to, have)
	}
	if len(parts) == 0 {
		return &stream.Input{}, nil
	}
	rec, err := s.join(parts, from)
	if err != nil {
		return nil, err
	}
	return &stream.Input{Rows: []arrow.Record{rec}}, nil
}

// join makes one record of the declared columns out of parts, the first of which follows row from.
func (s *source) join(parts []arrow.Record, from int64) (arrow.Record, error) {
	var rows int64
	for _, p := range parts {
		rows += p.NumRows()
	}
	columns := make([]arrow.Array, 0, len(s.cfg.Columns))
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for _, c := range s.cfg.Columns {
		col, err := s.column(c, parts, from, rows)
		if err != nil {
			return nil, err
		}
		columns = append(columns, col)
	}
	return array.NewRecord(s.schema, columns, rows), nil
}

func (s *source) column(c stream.Column, parts []arrow.Record, from, rows int64) (arrow.Array, error) {
	if c.Metadata {
		return metadata(c, from, int(rows)), nil
	}
	chunks := make([]arrow.Array, len(parts))
	for i, p := range parts {
		at := p.Schema().FieldIndices(c.Name)
		if len(at) == 0 { // declared after the rows were added: as a field that JSON does not have
			chunks[i] = array.MakeArrayOfNull(memory.DefaultAllocator, c.Arrow, int(p.NumRows()))
			defer chunks[i].Release()
			continue
		}
		chunks[i] = p.Column(at[0])
		if !arrow.TypeEqual(chunks[i].DataType(), c.Arrow) {
			return nil, diag.New(diag.BadType, "source %q: column %q was added as %s and is declared as %s",
				s.cfg.Name, c.Name, chunks[i].DataType(), c.Type)
		}
	}
	return array.Concatenate(chunks, memory.DefaultAllocator)
}

// metadata returns the number of each row for the column sequence, NULL for any other.
func metadata(c stream.Column, from int64, rows int) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, c.Arrow)
	defer b.Release()
	for i := range rows {
		switch b := b.(type) {
		case *array.Int64Builder:
			b.Append(from + int64(i) + 1)
		case *array.Uint64Builder:
			b.Append(uint64(from) + uint64(i) + 1)
		default:
			b.AppendNull()
		}
	}
	return b.NewArray()
}

func (s *source) Acknowledge(context.Context, stream.Offset) error { return nil }

func (s *source) Close() error { return nil }
