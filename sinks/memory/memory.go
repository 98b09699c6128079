// Package memory is the sink "memory": rows in the process, for tests. What a Hub holds outlives the sinks
// that are opened over it, as a file would outlive a process, so that a test can stop and start an engine.
//
// The protocol: a batch and its marker are stored under one lock. A batch whose marker is there is ignored.
package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/stream"
)

// When says at which point of a Write a fault strikes.
type When string

// The points at which a fault can strike.
const (
	Before When = "before" // nothing is stored
	Mid    When = "mid"    // part of the batch was received, and is not to be seen
	After  When = "after"  // the batch and its marker are stored
)

// Delivered is one batch as it arrived. Rows hold Go values as rowenc.Value gives them, without the op
// column.
type Delivered struct {
	Marker  stream.Marker
	Mode    stream.Mode
	Columns []string
	Types   []arrow.DataType // of the columns
	Rows    [][]any
	Ops     []string // nil, or one per row
	Replace string
	Keys    []int
}

// Hub holds what memory sinks were given, by the sink's name. Its methods may be called concurrently. Make it
// with NewHub.
type Hub struct {
	mu    sync.Mutex
	sinks map[string]*store
}

// store is one sink's content, guarded by the Hub's mu.
type store struct {
	marker  *stream.Marker
	batches []Delivered
	faults  []fault
}

type fault struct {
	when When
	err  error
}

// NewHub returns an empty Hub.
func NewHub() *Hub { return &Hub{sinks: map[string]*store{}} }

// Connector returns the connector "memory" over hub.
func Connector(hub *Hub) stream.SinkConnector {
	return stream.SinkConnector{
		Spec: stream.Spec{
			Name: "memory", Summary: "Rows in the process's memory, for tests.",
			Guarantee: "Exactly once while the process lives; gone with it.",
			Example:   "CREATE SINK out WITH (connector = 'memory');",
		},
		Modes: []stream.Mode{stream.Append, stream.Update, stream.Complete},
		Slots: true,
		Place: func(sink string, _ stream.Options) string { return fmt.Sprintf("the memory of sink %q", sink) },
		Open: func(_ context.Context, cfg stream.SinkConfig) (stream.Sink, error) {
			return &sink{hub: hub, name: cfg.Name}, nil
		},
	}
}

func (h *Hub) store(name string) *store {
	s := h.sinks[name]
	if s == nil {
		s = &store{}
		h.sinks[name] = s
	}
	return s
}

// FailNext makes the next Write to the sink that is not ignored fail with err at the given point. Several
// wait in line.
func (h *Hub) FailNext(name string, when When, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.store(name)
	s.faults = append(s.faults, fault{when, err})
}

// Marker returns the sink's stored marker, or nil.
func (h *Hub) Marker(name string) *stream.Marker {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.store(name).marker; m != nil {
		found := *m
		return &found
	}
	return nil
}

// Batches returns every batch the sink holds, in order, except those that Clear forgot. The rows are shared:
// they are not to be changed.
func (h *Hub) Batches(name string) []Delivered {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.store(name).batches)
}

// Since returns the batches with a number greater than batch, as Batches does. Pass -1 for all.
func (h *Hub) Since(name string, batch int64) []Delivered {
	return slices.DeleteFunc(h.Batches(name), func(d Delivered) bool { return d.Marker.Batch <= batch })
}

// Rows returns every row that was delivered and not replaced, in order: in append mode and in update mode all
// rows as they came, in complete mode those of the last batch.
func (h *Hub) Rows(name string) [][]any {
	var rows [][]any
	for _, d := range h.visible(name) {
		rows = append(rows, d.Rows...)
	}
	return rows
}

// Table returns what a table that follows the sink's mode would hold: like Rows, but in update mode the last
// row of each key that was not deleted, in the order of the keys' last change.
func (h *Hub) Table(name string) [][]any {
	var rows [][]any
	var keys []string
	for _, d := range h.visible(name) {
		for i, row := range d.Rows {
			if d.Mode != stream.Update || d.Keys == nil {
				rows, keys = append(rows, row), append(keys, "")
				continue
			}
			key := keyOf(row, d.Keys)
			if at := slices.Index(keys, key); at >= 0 {
				rows, keys = slices.Delete(rows, at, at+1), slices.Delete(keys, at, at+1)
			}
			if d.Ops == nil || d.Ops[i] != stream.OpDelete {
				rows, keys = append(rows, row), append(keys, key)
			}
		}
	}
	return rows
}

func keyOf(row []any, keys []int) string {
	var b strings.Builder
	for _, k := range keys {
		fmt.Fprintf(&b, "%T %q;", row[k], fmt.Sprint(row[k]))
	}
	return b.String()
}

// visible returns the batches whose rows have not been replaced.
func (h *Hub) visible(name string) []Delivered {
	var list []Delivered
	for _, d := range h.Batches(name) {
		switch {
		case d.Replace != "":
			list = slices.DeleteFunc(list, func(old Delivered) bool {
				return old.Replace == d.Replace && old.Marker.Query == d.Marker.Query
			})
		case d.Mode == stream.Complete:
			list = nil
		}
		list = append(list, d)
	}
	return list
}

// Last returns the batch that was delivered last and whether there is one.
func (h *Hub) Last(name string) (Delivered, bool) {
	list := h.Batches(name)
	if len(list) == 0 {
		return Delivered{}, false
	}
	return list[len(list)-1], true
}

// Clear forgets the sink's rows and keeps its marker, so that the query goes on.
func (h *Hub) Clear(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store(name).batches = nil
}

// sink is one life of a sink over the Hub. One query goroutine calls it.
type sink struct {
	hub   *Hub
	name  string
	owner stream.Owner
	open  bool
}

// Open implements stream.Sink.
func (s *sink) Open(ctx context.Context, o stream.Owner) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	st := s.hub.store(s.name)
	if err := o.Accept(s.name, st.marker); err != nil {
		return err //nolint:wrapcheck // coded for the user
	}
	m := o.Adopt(st.marker)
	st.marker, s.owner, s.open = &m, o, true
	return nil
}

// Write implements stream.Sink.
func (s *sink) Write(ctx context.Context, d stream.Delivery) error {
	if !s.open {
		return fmt.Errorf("write to sink %s: not open", s.name)
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	got := receive(d)
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	st := s.hub.store(s.name)
	if err := s.owner.Fenced(s.name, *st.marker); err != nil {
		return err //nolint:wrapcheck // coded for the user
	}
	if d.Already(st.marker) {
		return nil
	}
	when, err := st.next()
	if err != nil && when != After {
		return err
	}
	m := d.Marker
	m.Epoch, m.Life = s.owner.Epoch, s.owner.Life
	st.marker, st.batches = &m, append(st.batches, got)
	return err
}

// next takes the next fault.
func (st *store) next() (When, error) {
	if len(st.faults) == 0 {
		return "", nil
	}
	f := st.faults[0]
	st.faults = st.faults[1:]
	if f.err == nil {
		f.err = errors.New("the memory sink was told to fail")
	}
	return f.when, f.err
}

// receive copies a delivery out of Arrow.
func receive(d stream.Delivery) Delivered {
	got := Delivered{Marker: d.Marker, Mode: d.Mode, Replace: d.Replace, Keys: slices.Clone(d.Result.Keys)}
	width := d.Result.Schema.NumFields()
	for _, f := range d.Result.Schema.Fields() {
		got.Columns = append(got.Columns, f.Name)
		got.Types = append(got.Types, f.Type)
	}
	for _, r := range d.Result.Records {
		for i := range int(r.NumRows()) {
			row := make([]any, width)
			for c := range row {
				row[c] = rowenc.Value(r.Column(c), i)
			}
			got.Rows = append(got.Rows, row)
			if d.Result.Op {
				got.Ops = append(got.Ops, fmt.Sprint(rowenc.Value(r.Column(width), i)))
			}
		}
	}
	return got
}

// Close implements stream.Sink.
func (s *sink) Close() error {
	s.open = false
	return nil
}
