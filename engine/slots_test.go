package engine_test

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/trigger"
)

const slotQuery = ` AS SELECT k, count(*) AS n FROM src
	WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end') GROUP BY k;`

// TestSlotByHandKeepsMissedTicks asks that a slot which the trigger did not ask for does not make the next start
// forget where the trigger stood.
func TestSlotByHandKeepsMissedTicks(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(plotSource + `CREATE QUERY q INTO mem TRIGGER CRON '0 * * * *' OUTPUT MODE COMPLETE
		WITH (missed = 'all')` + slotQuery)
	q := w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context())) // the last whole slot
	require.Equal(t, int64(1), q.Batches())
	require.NoError(t, q.RunSlot(t.Context(), trigger.Slot{Start: start.Add(-9 * time.Hour), End: start.Add(-8 * time.Hour)}))
	require.NoError(t, q.Close(t.Context()))
	w.manual.Advance(3*time.Hour + time.Minute)
	q = w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, int64(5), q.Batches())
	require.NoError(t, q.Close(t.Context()))
}

// TestAvailableNowOfCronEnds asks that a run which takes what is due now ends where no tick is due.
func TestAvailableNowOfCronEnds(t *testing.T) {
	w := newWorld(t, newParser(t))
	now := engine.OverrideAvailableNow
	w.opt = func(o *engine.Options) { o.Trigger = &now }
	q := w.mustOpen(w.app(plotSource + `CREATE QUERY q INTO mem TRIGGER CRON '30 * * * *' AS SELECT k FROM src;`))
	ran, err := q.Step(t.Context())
	require.NoError(t, err)
	require.False(t, ran)
	require.True(t, q.Ended())
	require.NoError(t, q.Close(t.Context()))
}

// TestSlotsRefreshTables asks that slots more frequent than a table's REFRESH EVERY do not put it off.
func TestSlotsRefreshTables(t *testing.T) {
	w := newWorld(t, newParser(t))
	path := filepath.Join(t.TempDir(), "t.csv")
	require.NoError(t, os.WriteFile(path, []byte("v\n1\n"), 0o600))
	app := w.app(plotSource + `CREATE TABLE ref REFRESH EVERY '1 hour' AS SELECT v AS w FROM read_csv('` + path + `');
		CREATE QUERY q INTO mem TRIGGER CRON '0 * * * *' OUTPUT MODE COMPLETE AS
		SELECT w, count(*) AS n FROM src, ref WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end') GROUP BY w;`)
	w.add(app, "src", []any{1, "a", 1, at(1)})
	q := w.mustOpen(app)
	slot := trigger.Slot{Start: start, End: start.Add(time.Hour)}
	for range 3 {
		require.NoError(t, q.RunSlot(t.Context(), slot))
		require.NoError(t, os.WriteFile(path, []byte("v\n2\n"), 0o600))
		w.manual.Advance(40 * time.Minute)
	}
	require.Equal(t, []string{"2|1"}, texts(w.sinks.Rows("mem")))
	require.NoError(t, q.Close(t.Context()))
}

// counted counts how often somebody asks for the time.
type counted struct {
	clock.Clock
	asked *atomic.Int64
}

func (c counted) Now() time.Time {
	c.asked.Add(1)
	return c.Clock.Now()
}

// TestSlotDelaySleeps asks that a query sleeps between the tick of a slot and the time that slot_delay makes it due.
func TestSlotDelaySleeps(t *testing.T) {
	w := newWorld(t, newParser(t))
	asked := &atomic.Int64{}
	w.clock = counted{w.manual, asked}
	q := w.mustOpen(w.app(plotSource + `CREATE QUERY q INTO mem TRIGGER CRON '0 * * * *' OUTPUT MODE COMPLETE
		WITH (slot_delay = '30 minutes')` + slotQuery))
	w.manual.Advance(40 * time.Minute)
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, int64(1), q.Batches())
	w.manual.Advance(30 * time.Minute)
	before := asked.Load()
	ended := make(chan error, 1)
	go func() { ended <- q.Run(t.Context()) }()
	require.Never(t, func() bool { return asked.Load()-before > 500 }, 200*time.Millisecond, 10*time.Millisecond)
	q.Stop()
	require.NoError(t, <-ended)
}
