package checkpoint_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

const (
	dir   = "/data/revenue"
	query = "5f0c9d3e-7a41-4f8e-9b52-0a1b2c3d4e5f"
)

func start() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 123_000, time.UTC) }

func options(fsys vfs.FS) checkpoint.Options {
	return checkpoint.Options{
		FS: fsys, Dir: dir, Clock: clock.NewManual(start()), Version: "v0.1.0", Host: "somewhere", PID: 4711,
	}
}

// small makes the log rotate and trim within a few batches.
func small(fsys vfs.FS) checkpoint.Options {
	o := options(fsys)
	o.SegmentBatches, o.KeepBatches = 3, 2
	return o
}

func meta() checkpoint.Meta {
	return checkpoint.Meta{
		UUID: query, Name: "revenue", SQL: "CREATE QUERY revenue …", Plan: "p1",
		Layout: []string{"source orders: connector jetstream", "aggregate by (customer)"}, Stateful: true,
		Start: map[string]stream.Offset{"orders": "0"},
	}
}

func stateless() checkpoint.Meta {
	m := meta()
	m.Stateful = false
	return m
}

func open(t *testing.T, o checkpoint.Options, m checkpoint.Meta) (*checkpoint.Checkpoint, *checkpoint.Recovery) {
	t.Helper()
	c, r, err := checkpoint.Open(t.Context(), o, m)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close(false)) })
	return c, r
}

func intent(b int64) checkpoint.Intent {
	w := b * 1_000_000
	return checkpoint.Intent{
		Batch: b, Time: start().Add(time.Duration(b) * time.Second), Plan: "p1", Watermark: &w,
		Sources: map[string]stream.Range{"orders": {
			From: stream.Offset(fmt.Sprint(b * 10)), To: stream.Offset(fmt.Sprint(b*10 + 10)), Identity: "ORDERS@2026",
		}},
	}
}

func commit(b int64) checkpoint.Commit {
	w := b*1_000_000 + 1
	return checkpoint.Commit{
		Batch: b, Watermark: &w, Watermarks: map[string]int64{"orders": w}, Rows: b,
		Sources:   map[string]checkpoint.SourceCount{"orders": {Messages: 10, CRC: uint32(b), In: 10, Used: 10}},
		Delivered: map[string]stream.Marker{"out": {Query: query, Epoch: 1, Batch: b, IntentCRC: intent(b).CRC()}},
		Totals:    checkpoint.Totals{Batches: b + 1},
	}
}

func exclude(b int64) checkpoint.Exclude {
	return checkpoint.Exclude{Batch: b, Rows: map[string][]checkpoint.Exclusion{"orders": {{Ordinal: b, Reason: "overflow"}}}}
}

// tablesAt is a version that can be told from every other: the batch stands in a column's name.
func tablesAt(b int64) []state.Change {
	return []state.Change{{Table: "groups", Columns: []string{fmt.Sprintf("c%d BIGINT", b)}, Base: true}}
}

func requireVersion(t *testing.T, r *checkpoint.Recovery, at string) {
	t.Helper()
	if r.Version < 0 {
		require.Empty(t, r.State.Tables(), at)
		return
	}
	var got []state.Change
	require.NoError(t, r.Load(t.Context(), func(c state.Change) error { got = append(got, c); return nil }), at)
	require.Equal(t, tablesAt(r.Version), got, at)
}

func runBatch(t *testing.T, c *checkpoint.Checkpoint, b int64) {
	t.Helper()
	require.NoError(t, c.Intend(intent(b)))
	require.NoError(t, c.Commit(commit(b)))
}

func batches(rs []checkpoint.Replay) []int64 {
	var out []int64
	for _, r := range rs {
		out = append(out, r.Intent.Batch)
	}
	return out
}
