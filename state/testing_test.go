package state_test

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

const dir = "/q/state"

// tables is the content of a version: table, key, value.
type tables map[string]map[int64]string

func (c tables) clone() tables {
	out := tables{}
	for name, rows := range c {
		out[name] = maps.Clone(rows)
	}
	return out
}

func schema() *arrow.Schema {
	return arrow.NewSchema([]arrow.Field{
		{Name: "k", Type: arrow.PrimitiveTypes.Int64},
		{Name: "v", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil)
}

func rows(mem memory.Allocator, keys []int64, value string) arrow.Record {
	b := array.NewRecordBuilder(mem, schema())
	defer b.Release()
	for _, k := range keys {
		b.Field(0).(*array.Int64Builder).Append(k)
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("%s-%d", value, k))
	}
	return b.NewRecord()
}

func keyRows(mem memory.Allocator, keys []int64) arrow.Record {
	b := array.NewRecordBuilder(mem, arrow.NewSchema(schema().Fields()[:1], nil))
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues(keys, nil)
	return b.NewRecord()
}

func span(from, to int64) []int64 {
	var keys []int64
	for k := from; k < to; k++ {
		keys = append(keys, k)
	}
	return keys
}

func base(mem memory.Allocator, table string, keys []int64, value string) state.Change {
	return state.Change{
		Table: table, Columns: []string{"k BIGINT", "v VARCHAR"}, Keys: []string{"k"}, Base: true,
		Records: []arrow.Record{rows(mem, keys, value)},
	}
}

func delta(mem memory.Allocator, table string, puts, gone []int64, value string) state.Change {
	c := state.Change{Table: table, Columns: []string{"k BIGINT", "v VARCHAR"}, Keys: []string{"k"}}
	if len(puts) > 0 {
		c.Records = []arrow.Record{rows(mem, puts, value)}
	}
	if len(gone) > 0 {
		c.Deleted = []arrow.Record{keyRows(mem, gone)}
	}
	return c
}

// lay applies a change to the model of what the tables hold.
func (c tables) lay(change state.Change) {
	if change.Dropped {
		delete(c, change.Table)
		return
	}
	if change.Base || c[change.Table] == nil {
		c[change.Table] = map[int64]string{}
	}
	for _, r := range change.Records {
		for i := range int(r.NumRows()) {
			k := r.Column(0).(*array.Int64).Value(i)
			c[change.Table][k] = r.Column(1).(*array.String).Value(i)
		}
	}
	for _, r := range change.Deleted {
		for i := range int(r.NumRows()) {
			delete(c[change.Table], r.Column(0).(*array.Int64).Value(i))
		}
	}
}

func load(ctx context.Context, mem memory.Allocator, v state.Version) (tables, error) {
	got := tables{}
	return got, v.Load(ctx, mem, func(c state.Change) error {
		got.lay(c)
		return nil
	})
}

func release(changes []state.Change) {
	for _, c := range changes {
		c.Release()
	}
}

// step is the changes of one version of a little query with a keyed table, windows that come and go, and a
// table that never changes.
func step(mem memory.Allocator, s *state.Store, n int64) []state.Change {
	var out []state.Change
	switch {
	case n == 0:
		out = append(out, base(mem, "groups", span(0, 40), "v0"), base(mem, "still", span(0, 3), "s"))
	case s != nil && s.WantBase("groups"):
		out = append(out, base(mem, "groups", span(n, 40+n), fmt.Sprint("v", n)))
	default:
		out = append(out, delta(mem, "groups", span(n, n+5), span(n-1, n), fmt.Sprint("v", n)))
	}
	out = append(out, base(mem, fmt.Sprint("window ", n), span(n, n+2), "w"))
	if n > 1 {
		out = append(out, state.Change{Table: fmt.Sprint("window ", n-2), Dropped: true})
	}
	return out
}

func fsBytes(t *testing.T, fsys vfs.FS, dir string) (files int, bytes int64) {
	t.Helper()
	names, err := fsys.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		info, err := fsys.Stat(filepath.Join(dir, name))
		require.NoError(t, err)
		bytes += info.Size()
	}
	return len(names), bytes
}
