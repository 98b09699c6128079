package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
)

func TestLatencyTargetCutsBatchesAndNothingElse(t *testing.T) {
	w := newWorld(t, newParser(t))
	var sizes []int64
	w.opt = func(o *engine.Options) {
		o.Listener.BatchDone = func(p engine.Progress) { sizes = append(sizes, p.NumInputRows) }
		o.Hook = func(point string) error { // every batch takes 4 ms of this clock
			if point == engine.AfterExecute {
				w.manual.Advance(4e6)
			}
			return nil
		}
	}
	app := w.app(`CREATE SOURCE src (n BIGINT) WITH (connector = 'memory');
		CREATE SINK out WITH (connector = 'memory');
		CREATE QUERY q INTO out WITH (latency_target = '100 ms') AS SELECT n FROM src`)
	rows, want := make([][]any, 1000), make([]string, 1000)
	for i := range rows {
		rows[i], want[i] = []any{int64(i)}, fmt.Sprint(i)
	}
	w.add(app, "src", rows...)
	q := w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []int64{64, 64, 128, 128, 256, 256, 104}, sizes, "a range that was read ahead keeps the size it had")
	require.Equal(t, sorted(want), sorted(texts(w.sinks.Rows("out"))))
}
