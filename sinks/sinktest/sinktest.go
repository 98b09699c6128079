// Package sinktest is the contract that every sink keeps: a batch delivered twice is there once, a marker is
// worth what stream.Owner makes of it, an owner that lost its place is fenced, and each output mode means
// what it says.
//
// A sink's own test calls Run with a factory. The rows are (id BIGINT, name VARCHAR, n BIGINT), keyed by id.
package sinktest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// Features says what a sink claims beyond delivering rows.
type Features struct {
	Modes       []stream.Mode
	Slots       bool // Delivery.Replace works
	AtLeastOnce bool // a batch delivered twice may be there twice, and there is no marker
}

// Place is a fresh place for one sink's output, which outlives the sinks that are opened over it.
type Place struct {
	// Connect returns a new sink over the place, not yet opened.
	Connect func(cfg stream.SinkConfig) (stream.Sink, error)
	// Rows returns what a reader sees, in any order: id, name, n.
	Rows func() [][]any
}

// Row is one row of a test's batch. An empty Op is an upsert.
type Row struct {
	ID   int64
	Name any // string or nil
	N    int64
	Op   string
}

// Schema returns the columns of a test's batch, without the op column.
func Schema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, nil)
}

// Config returns what a connector gets to open in the given mode, without options.
func Config(mode stream.Mode) stream.SinkConfig {
	cfg := stream.SinkConfig{
		Name: "out", Options: stream.Options{}, Schema: Schema(), Mode: mode,
		Clock: clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		FS:    vfs.NewMem(), Dir: "/sink", Log: slog.New(slog.DiscardHandler),
	}
	if mode == stream.Update {
		cfg.Keys = []int{0}
	}
	return cfg
}

// Batch builds a result of one record per chunk of at most two rows, so that sinks meet several records. The
// caller releases it.
func Batch(mode stream.Mode, rows ...Row) stream.Batch {
	b := stream.Batch{Schema: Schema()}
	schema := b.Schema
	if mode == stream.Update {
		b.Keys, b.Op = []int{0}, true
		schema = arrow.NewSchema(append(schema.Fields(), arrow.Field{Name: stream.OpColumn, Type: arrow.BinaryTypes.String}), nil)
	}
	for chunk := range slices.Chunk(rows, 2) {
		b.Records = append(b.Records, record(schema, chunk))
	}
	return b
}

func record(schema *arrow.Schema, rows []Row) arrow.Record {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	for _, r := range rows {
		rb.Field(0).(*array.Int64Builder).Append(r.ID) //nolint:forcetypeassert // Schema says so
		name := rb.Field(1).(*array.StringBuilder)     //nolint:forcetypeassert // Schema says so
		if text, ok := r.Name.(string); ok {
			name.Append(text)
		} else {
			name.AppendNull()
		}
		rb.Field(2).(*array.Int64Builder).Append(r.N) //nolint:forcetypeassert // Schema says so
		if schema.NumFields() > 3 {
			op := r.Op
			if op == "" {
				op = stream.OpUpsert
			}
			rb.Field(3).(*array.StringBuilder).Append(op) //nolint:forcetypeassert // Batch says so
		}
	}
	return rb.NewRecord()
}

// Marker returns the marker of a batch of the query.
func Marker(query string, epoch uint64, batch int64) stream.Marker {
	return stream.Marker{Query: query, Epoch: epoch, Batch: batch, IntentCRC: uint32(1000 + batch)} //nolint:gosec // small
}

// Owner returns an owner whose log says that the sink holds batch last; -1 for none.
func Owner(query string, epoch uint64, last int64) stream.Owner {
	o := stream.Owner{Query: query, Name: "q", Epoch: epoch}
	if last >= 0 {
		m := Marker(query, epoch-1, last)
		o.Last = &m
	}
	return o
}

// The two queries of the suite.
const (
	QueryA = "11111111-1111-4111-8111-111111111111"
	QueryB = "22222222-2222-4222-8222-222222222222"
)

type suite struct {
	features Features
	place    func(t *testing.T) Place
}

// Run holds a sink to the contract. Place is called for each part of it.
func Run(t *testing.T, features Features, place func(t *testing.T) Place) {
	t.Helper()
	s := suite{features, place}
	t.Run("append", s.appends)
	if slices.Contains(features.Modes, stream.Complete) {
		t.Run("complete", s.completes)
	}
	if slices.Contains(features.Modes, stream.Update) {
		t.Run("update", s.updates)
	}
	if features.Slots {
		t.Run("slots", s.slots)
	}
	if features.AtLeastOnce {
		return
	}
	t.Run("twice", s.twice)
	t.Run("reopen", s.reopens)
	t.Run("pending", s.pending)
	t.Run("other query", s.otherQuery)
	t.Run("lost marker", s.lostMarker)
	t.Run("take over", s.takesOver)
	t.Run("zombie", s.zombie)
	t.Run("copied", s.copied)
	t.Run("cancelled", s.cancelled)
}

func (s suite) open(t *testing.T, p Place, mode stream.Mode, o stream.Owner) stream.Sink {
	t.Helper()
	sink, err := p.Connect(Config(mode))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sink.Close()) })
	require.NoError(t, sink.Open(t.Context(), o))
	return sink
}

// Deliver writes one batch of the query and returns what Write says.
func Deliver(ctx context.Context, sink stream.Sink, m stream.Marker, mode stream.Mode, rows ...Row) error {
	return deliver(ctx, sink, stream.Delivery{Marker: m, Mode: mode}, rows)
}

func deliver(ctx context.Context, sink stream.Sink, d stream.Delivery, rows []Row) error {
	d.Result = Batch(d.Mode, rows...)
	defer d.Result.Release()
	return sink.Write(ctx, d) //nolint:wrapcheck // the very error is looked at
}

// See fails the test unless a reader of the place sees exactly the rows want, in any order.
func See(t *testing.T, p Place, want ...Row) {
	t.Helper()
	require.Equal(t, lines(rowsOf(want)), lines(p.Rows()))
}

func rowsOf(rows []Row) [][]any {
	list := make([][]any, len(rows))
	for i, r := range rows {
		list[i] = []any{r.ID, r.Name, r.N}
	}
	return list
}

func lines(rows [][]any) []string {
	list := make([]string, len(rows))
	for i, r := range rows {
		list[i] = fmt.Sprintf("%v", r)
	}
	slices.Sort(list)
	return list
}

func requireCode(t *testing.T, want diag.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, diag.CodeOf(err), "%v", err)
}
