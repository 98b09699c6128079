package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/sources/jetstream"
	"github.com/tidemill/tidemill/trigger"
)

// TestHistoryByPublicationTime asks that slots and bounded batch runs of a source with history_time = 'published' read
// only what the server stored in between, whatever the event times say.
func TestHistoryByPublicationTime(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.NewStream("S", "limits", "s")
	w := newWorld(t, newParser(t))
	w.reg.Sources["jetstream"] = jetstream.Connector(nil)
	var reads []int64
	w.opt = func(o *engine.Options) {
		o.Listener.BatchDone = func(p engine.Progress) { reads = append(reads, p.NumInputRows) }
	}
	bounds := make([]time.Time, 0, 4)
	id := 0
	for range 3 {
		srv.Publish(5, func(int) (string, []byte) {
			id++
			return "s", fmt.Appendf(nil, `{"id":%d,"ts":"2020-01-01T00:00:00Z"}`, id)
		})
		messages := srv.Messages("S")
		bounds = append(bounds, messages[len(messages)-5].Time)
	}
	bounds = append(bounds, time.Now().Add(time.Hour))
	const text = `CREATE SOURCE src (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 hour')
		WITH (connector = 'jetstream', stream = 'S', url = '%s', history_time = '%s');
		CREATE SINK mem WITH (connector = 'memory');
		CREATE QUERY q INTO mem %s AS SELECT id%s FROM src;`
	slots := "TRIGGER CRON '0 * * * *'"
	app := w.app(fmt.Sprintf(text, srv.URL(), "published", slots, ", getvariable('slot_start') AS s"))
	q := w.mustOpen(app)
	slot := func(i int) trigger.Slot { return trigger.Slot{Start: bounds[i], End: bounds[i+1]} }
	// Slots are told apart by the second, so the one at last may replace the one at first.
	require.NoError(t, q.RunSlot(t.Context(), slot(1)))
	require.Equal(t, []string{"10", "6", "7", "8", "9"}, ids(w))
	require.NoError(t, q.RunSlot(t.Context(), slot(2)))
	require.Subset(t, ids(w), []string{"11", "12", "13", "14", "15"})
	require.NoError(t, q.RunSlot(t.Context(), slot(0)))
	require.Subset(t, ids(w), []string{"1", "2", "3", "4", "5"})
	require.NoError(t, q.RunSlot(t.Context(), trigger.Slot{Start: bounds[3], End: bounds[3].Add(time.Hour)}))
	require.Equal(t, []int64{5, 5, 5, 0}, reads)
	require.NoError(t, q.Close(t.Context()))

	for kind, want := range map[string]int64{"published": 5, "event": 0} {
		app = w.app(fmt.Sprintf(text, srv.URL(), kind, "", ""))
		res, err := engine.Batch(t.Context(), w.options(), app, "q", engine.BatchOptions{From: bounds[1], To: bounds[2]})
		require.NoError(t, err)
		require.Equal(t, want, res.Result.NumRows(), kind)
		res.Release()
	}
}

// ids are the first columns of what the memory sink holds.
func ids(w *world) []string {
	lines := texts(w.sinks.Rows("mem"))
	for i := range lines {
		lines[i], _, _ = strings.Cut(lines[i], "|")
	}
	return sorted(lines)
}

// TestWorkQueue asks that a query takes each message of a work queue once over kills at every point of a batch, and
// that the server may drop what the last state version holds.
func TestWorkQueue(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.NewStream("Q", "workqueue", "q")
	w := newWorld(t, newParser(t))
	w.reg.Sources["jetstream"] = jetstream.Connector(nil)
	app := w.app(fmt.Sprintf(`CREATE SOURCE src (id BIGINT) WITH (connector = 'jetstream', stream = 'Q', url = '%s',
			max_rows_per_batch = 2);
		CREATE SINK mem WITH (connector = 'memory');
		CREATE QUERY q INTO mem OUTPUT MODE COMPLETE AS SELECT id, count(*) AS n FROM src GROUP BY id;`, srv.URL()))
	points := []string{engine.AfterIntent, engine.AfterExecute, engine.AfterSink, engine.AfterCommit, engine.AfterState}
	for i, point := range points {
		srv.Publish(5, func(n int) (string, []byte) { return "q", fmt.Appendf(nil, `{"id":%d}`, 10*i+n) })
		w.hookOnce(point, 2)
		q := w.mustOpen(app)
		require.ErrorIs(t, q.Idle(t.Context()), errStop, point)
		require.NoError(t, q.Abandon())
	}
	w.opt = nil
	q := w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	batches := w.sinks.Batches("mem")
	require.Len(t, batches[len(batches)-1].Rows, 25)
	for _, row := range batches[len(batches)-1].Rows {
		require.Equal(t, "1", fmt.Sprint(row[1]), "%v", row)
	}
	require.Empty(t, srv.Messages("Q"))
}
