package jetstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// A batch of stepped rows is four steps: 999 rows each, and three.
const stepped = 3000

// moments are texts that pass by the proxy when a batch of ids 1 to 3000 is written in steps: a row in the middle of each
// step, the first and the last row, and each step's marker.
func moments() []string {
	var all []string
	for _, id := range []int{1, 500, 999, 1000, 1500, 2500, 3000} {
		all = append(all, fmt.Sprintf(`{"id":%d,`, id))
	}
	for _, done := range []int{999, 1998, 2997, 3000} {
		all = append(all, fmt.Sprintf(`"done":%d,`, done))
	}
	return all
}

// An owner that dies while a step, or its marker, or the step after it is on its way leaves a batch that the next owner ends:
// every row is there once, in order, whether what was on its way lands before the new owner comes, or after it is done.
func TestOwnerDiesBetweenSteps(t *testing.T) {
	for _, moment := range moments() {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s late=%t", moment, late), func(t *testing.T) {
				t.Parallel()
				srv := testkit.StartNATS(t)
				proxy := testkit.StartProxy(t, srv.URL())
				f := newFixture(t, proxy.URL, stream.Options{"payload": "json"})
				old := f.open()
				f.write(old, 0, 0)
				held := proxy.Hold(moment)
				t.Cleanup(held.Release)
				dying, die := context.WithCancel(t.Context())
				died := make(chan error, 1)
				go func() { died <- old.Write(dying, f.batch(1, upTo(1, stepped)...)) }()
				<-held.Seen()
				die()
				require.Error(t, <-died)
				if !late {
					held.Release()
				}
				f.next(0, 1)
				f.url = srv.URL()
				fresh := f.open()
				f.write(fresh, 1, upTo(1, stepped)...)
				f.write(fresh, 2, stepped+1)
				held.Release()
				requireCode(t, diag.SinkFenced, final(t, old, f.batch(2, 99)))
				require.Equal(t, upTo(0, stepped+1), rows(t, srv))
			})
		}
	}
}

// The owner itself goes on when the connection breaks at any of these moments.
func TestConnectionBreaksBetweenSteps(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, stream.Options{"payload": "json"})
	s := f.open()
	var want []int64
	for i, moment := range moments() {
		proxy.LoseAnswerTo(moment)
		eventually(t, s, f.batch(int64(i), upTo(1, stepped)...))
		require.Equal(t, i+1, proxy.Lost(), moment)
		want = append(want, upTo(1, stepped)...)
	}
	require.Equal(t, want, rows(t, srv))
}

// The server restarts at such a moment, and forgets what it has of steps without their marker.
func TestServerRestartsBetweenSteps(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, stream.Options{"payload": "json"})
	s := f.open()
	var want []int64
	for i, moment := range []string{`{"id":500,`, `{"id":1000,`, `{"id":2500,`, `"done":999,`, `"done":1998,`, `"done":3000,`} {
		held := proxy.Hold(moment)
		t.Cleanup(held.Release)
		ended := make(chan error, 1)
		d := f.batch(int64(i), upTo(1, stepped)...)
		go func() {
			err := s.Write(t.Context(), d)
			for diag.Temporary(err) && t.Context().Err() == nil {
				<-time.After(5 * time.Millisecond)
				err = s.Write(t.Context(), d)
			}
			ended <- err
		}()
		<-held.Seen()
		srv.Restart()
		held.Release()
		require.NoError(t, <-ended, moment)
		want = append(want, upTo(1, stepped)...)
	}
	require.Equal(t, want, rows(t, srv))
}

// A step in the middle is refused while the one after it is on its way: nothing of either is stored, and a later attempt, of
// this life or the next, leaves no hole.
func TestRefusedStepLeavesNoHole(t *testing.T) {
	for _, another := range []bool{false, true} {
		srv := testkit.StartNATS(t)
		limited := jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out", "out.>"}, AllowAtomicPublish: true, MaxMsgSize: 1000}
		srv.CreateStream(limited)
		f := newFixture(t, srv.URL(), stream.Options{"payload": "json"})
		s := f.open()
		d := f.batch(0)
		d.Result.Records = []arrow.Record{f.record(upTo(1, stepped), func(id int64) string {
			if id == 1500 {
				return strings.Repeat("x", 2000)
			}
			return "de"
		})}
		err := s.Write(t.Context(), d)
		requireCode(t, diag.SinkFailed, err)
		require.ErrorContains(t, err, "message size exceeds")
		require.False(t, diag.Temporary(err))
		require.Equal(t, upTo(1, 999), rows(t, srv))
		limited.MaxMsgSize = -1
		_, err = srv.JetStream().UpdateStream(t.Context(), limited)
		require.NoError(t, err)
		if another {
			f.next(-1, 0)
			s = f.open()
		}
		require.NoError(t, s.Write(t.Context(), d))
		f.write(s, 1, stepped+1)
		require.Equal(t, upTo(1, stepped+1), rows(t, srv))
	}
}

// record makes a record of rows.
func (f *fixture) record(ids []int64, country func(int64) string) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, id := range ids {
		b.Field(0).(*array.Int64Builder).Append(id)
		b.Field(1).(*array.StringBuilder).Append(country(id))
	}
	rec := b.NewRecord()
	f.t.Cleanup(rec.Release)
	return rec
}

// The server forgets the first step, which was sent before the batch was staged.
func TestServerRestartsWhileABatchIsStaged(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	s := f.makeWith(&cutter{stager: f.stage, after: srv.Restart})
	require.NoError(t, s.Open(t.Context(), f.owner))
	eventually(t, s, f.batch(0, upTo(1, stepped)...))
	require.Equal(t, upTo(1, stepped), rows(t, srv))
}

// Others write to the stream all the time; the steps do not mind.
func TestStepsAmongOthers(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), stream.Options{"payload": "json"})
	s := f.open()
	ctx, stop := context.WithCancel(t.Context())
	conn, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = conn.Request("out.foreign", []byte(`{"id":-1}`), time.Second)
		}
	}()
	for batch := range int64(5) {
		f.write(s, batch, upTo(batch*stepped, (batch+1)*stepped-1)...)
	}
	stop()
	<-done
	require.Equal(t, upTo(0, 5*stepped-1), ours(rows(t, srv)))
}

// TestBatchesOfOlderVersions opens a stream in which the marker lies before its messages, as it did before it came last.
func TestBatchesOfOlderVersions(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out", "out.>"}, AllowAtomicPublish: true})
	f := newFixture(t, srv.URL(), nil)
	marker := func(batch, n int64, more string) string {
		return fmt.Sprintf(`{"query":%q,"epoch":1,"batch":%d,"intent_crc":%d,"n":%d,"done":%d,"crc":0,%s}`, query, batch, batch+7, n, n, more)
	}
	put := func(subject, body string, headers ...string) {
		msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
		for i := 0; i < len(headers); i += 2 {
			msg.Header[headers[i]] = []string{headers[i+1]}
		}
		_, err := srv.JetStream().Conn().RequestMsg(msg, patience)
		require.NoError(t, err)
	}
	batch := []string{"Nats-Batch-Id", "old", "Nats-Batch-Sequence"}
	put("out._c.q.out", marker(0, 2, `"here":2`), append(batch, "1", "Tidemill-Marker", "1")...)
	for i := 1; i <= 2; i++ {
		headers := append(batch, strconv.Itoa(i+1))
		if i == 2 {
			headers = append(headers, "Nats-Batch-Commit", "1")
		}
		put("out", fmt.Sprintf(`{"id":%d}`, i), headers...)
	}
	put("out", `{"id":3}`, "Tidemill-Batch", marker(1, 1, `"of":"out._c.q.out"`))
	f.next(0, 1)
	s := f.open()
	f.write(s, 1, 99)
	f.write(s, 2, 4)
	f.write(s, 3, 5, 6, 7)
	require.Equal(t, upTo(1, 7), rows(t, srv))
}

// TestMarkersComeLast asks that every step ends with its marker, which says how much of the batch is there.
func TestMarkersComeLast(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), stream.Options{"payload": "json"})
	s := f.open()
	opened := lastSequence(t, srv)
	f.write(s, 0, upTo(1, stepped)...)
	f.write(s, 1, 1, 2)
	var at, done []int
	for _, m := range srv.Messages("OUT") {
		if m.Sequence <= opened {
			continue
		}
		require.LessOrEqual(t, len(m.Header.Get("Nats-Batch-Id")), 8)
		if m.Header.Get("Tidemill-Marker") == "" {
			require.Empty(t, m.Header.Get("Nats-Batch-Commit"))
			continue
		}
		var marker struct{ Done int }
		require.NoError(t, json.Unmarshal(m.Data, &marker))
		at, done = append(at, int(m.Sequence-opened)), append(done, marker.Done) //nolint:gosec // a test
	}
	require.Equal(t, []int{1000, 2000, 3000, 3004, 3007}, at)
	require.Equal(t, []int{999, 1998, 2997, 3000, 2}, done)
}

// dones is what the markers of a batch's steps say.
func dones(t *testing.T, srv *testkit.Server, batch int64) (done []int) {
	t.Helper()
	for _, m := range srv.Messages("OUT") {
		var marker struct {
			Batch int64
			Done  int
		}
		if m.Header.Get("Tidemill-Marker") == "" {
			continue
		}
		if require.NoError(t, json.Unmarshal(m.Data, &marker)); marker.Batch == batch && marker.Done > 0 {
			done = append(done, marker.Done)
		}
	}
	return done
}

// TestStepsAreAsLargeAsTheServerTakes asks servers that take more and less than they do unless told otherwise. The question
// leaves nothing in the stream.
func TestStepsAreAsLargeAsTheServerTakes(t *testing.T) {
	for most, want := range map[int][]int{800: {799, 1598, 2397, stepped}, 0: {999, 1998, 2997, stepped}, 2000: {1999, stepped}, 5000: {stepped}} {
		srv := testkit.StartNATS(t, func(o *natsd.Options) { o.Batch = most })
		f := newFixture(t, srv.URL(), stream.Options{"payload": "json"})
		s := f.open()
		f.write(s, 0, upTo(1, stepped)...)
		require.Equal(t, want, dones(t, srv, 0), "%d", most)
		require.Equal(t, uint64(1+len(want)+stepped), lastSequence(t, srv))
		require.Equal(t, upTo(1, stepped), rows(t, srv))
	}
}

// TestServerTakesLessThanBefore restarts the server with another limit between two batches.
func TestServerTakesLessThanBefore(t *testing.T) {
	srv := testkit.StartNATS(t, func(o *natsd.Options) { o.Batch = 5000 })
	f := newFixture(t, srv.URL(), stream.Options{"payload": "json"})
	s := f.open()
	f.write(s, 0, upTo(1, stepped)...)
	srv.RestartWith(func(o *natsd.Options) { o.Batch = 2000 })
	eventually(t, s, f.batch(1, upTo(stepped+1, 2*stepped)...))
	require.Equal(t, []int{stepped}, dones(t, srv, 0))
	require.Equal(t, []int{1999, stepped}, dones(t, srv, 1))
	require.Equal(t, upTo(1, 2*stepped), rows(t, srv))
}
