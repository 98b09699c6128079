package jetstream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
	sink "github.com/tidemill/tidemill/sinks/jetstream"
	"github.com/tidemill/tidemill/stream"
)

// How long the tests wait for what must come, and for what must not.
const (
	shortly  = 200 * time.Millisecond
	patience = 30 * time.Second
	tick     = time.Millisecond
)

const query = "0191d8a0-0000-7000-8000-000000000001"

var schema = arrow.NewSchema([]arrow.Field{ //nolint:gochecknoglobals // a constant
	{Name: "id", Type: arrow.PrimitiveTypes.Int64},
	{Name: "country", Type: arrow.BinaryTypes.String, Nullable: true},
}, nil)

// stager keeps staged bytes in memory, as the engine keeps them on disk.
type stager struct {
	data map[int64][]byte
	fail bool
}

func (s *stager) Stage(_ context.Context, batch int64, _ string, data []byte) error {
	if s.fail {
		return errors.New("disk on fire")
	}
	if old, ok := s.data[batch]; ok && !bytes.Equal(old, data) {
		return errors.New("other bytes were staged")
	}
	s.data[batch] = bytes.Clone(data)
	return nil
}

func (s *stager) Staged(_ context.Context, batch int64, _ string) ([]byte, error) {
	return s.data[batch], nil
}

// fixture is a sink's world: the parts that stay when the sink is opened again.
type fixture struct {
	t       testing.TB
	url     string
	options stream.Options
	mode    stream.Mode
	stage   *stager
	owner   stream.Owner
}

func newFixture(t testing.TB, url string, options stream.Options) *fixture {
	t.Helper()
	f := &fixture{t: t, url: url, options: options, stage: &stager{data: map[int64][]byte{}}}
	f.owner = stream.Owner{Query: query, Name: "q", Epoch: 1}
	return f
}

func (f *fixture) make() stream.Sink {
	f.t.Helper()
	s, err := f.tryMake()
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, s.Close()) })
	return s
}

func (f *fixture) tryMake() (stream.Sink, error) {
	all := stream.Options{"url": f.url, "stream": "OUT", "connect_timeout": patience, "rows_per_message": int64(2)}
	for k, v := range f.options {
		all[k] = v
	}
	cfg := stream.SinkConfig{Name: "out", Options: all, Schema: schema, Mode: f.mode, Stage: f.stage}
	if f.mode == stream.Update {
		cfg.Keys = []int{1}
	}
	return sink.Connector(nil).Open(f.t.Context(), cfg) //nolint:wrapcheck // a test
}

// open makes and opens a sink for the fixture's owner.
func (f *fixture) open() stream.Sink {
	f.t.Helper()
	s := f.make()
	require.NoError(f.t, s.Open(f.t.Context(), f.owner))
	return s
}

// batch makes a delivery of rows (id, country).
func (f *fixture) batch(n int64, ids ...int64) stream.Delivery {
	f.t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, id := range ids {
		b.Field(0).(*array.Int64Builder).Append(id)
		b.Field(1).(*array.StringBuilder).Append([]string{"de", "fr"}[id%2])
	}
	rec := b.NewRecord()
	f.t.Cleanup(rec.Release)
	return stream.Delivery{
		Marker: stream.Marker{Query: query, Epoch: f.owner.Epoch, Batch: n, IntentCRC: uint32(n) + 7},
		Mode:   f.mode, Result: stream.Batch{Schema: schema, Records: []arrow.Record{rec}},
	}
}

func (f *fixture) write(s stream.Sink, n int64, ids ...int64) {
	f.t.Helper()
	require.NoError(f.t, s.Write(f.t.Context(), f.batch(n, ids...)))
}

// eventually writes and tries again for as long as the fault is temporary, as the engine does.
func eventually(t testing.TB, s stream.Sink, d stream.Delivery) {
	t.Helper()
	require.NoError(t, final(t, s, d))
}

// final is the outcome of a write that is tried again for as long as the fault is temporary.
func final(t testing.TB, s stream.Sink, d stream.Delivery) error {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := s.Write(t.Context(), d)
		if err == nil || !diag.Temporary(err) {
			return err //nolint:wrapcheck // a test
		}
		require.True(t, time.Now().Before(deadline), "%v", err)
		<-time.After(5 * time.Millisecond)
	}
}

// rows returns the ids in the stream's data messages, in order.
func rows(t testing.TB, s *testkit.Server) []int64 {
	t.Helper()
	return rowsAfter(t, s, 0)
}

// rowsAfter leaves out what lies up to a sequence.
func rowsAfter(t testing.TB, s *testkit.Server, after uint64) []int64 {
	t.Helper()
	return rowsOf(t, s, "OUT", after)
}

func rowsOf(t testing.TB, s *testkit.Server, stream string, after uint64) []int64 {
	t.Helper()
	var ids []int64
	for _, m := range s.Messages(stream) {
		if m.Header.Get("Tidemill-Marker") != "" || m.Sequence <= after {
			continue
		}
		for line := range strings.Lines(string(m.Data)) {
			var row struct{ ID int64 }
			require.NoError(t, json.Unmarshal([]byte(line), &row), line)
			ids = append(ids, row.ID)
		}
	}
	return ids
}

func requireCode(t testing.TB, want diag.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, diag.CodeOf(err), diag.Render(err))
}

func upTo(first, last int64) []int64 {
	var ids []int64
	for i := first; i <= last; i++ {
		ids = append(ids, i)
	}
	return ids
}

func TestBatchesOnceAndInOrder(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	s := f.open()
	f.write(s, 0, 1, 2, 3)
	f.write(s, 0, 1, 2, 3)
	f.write(s, 1, 4)
	require.Equal(t, []int64{1, 2, 3, 4}, rows(t, srv))
	// A later life of the same query delivers batch 1 again.
	f.owner.Epoch = 2
	f.owner.Last = &stream.Marker{Query: query, Batch: 0, IntentCRC: 7}
	f.owner.Pending = &stream.Marker{Query: query, Batch: 1, IntentCRC: 8}
	s = f.open()
	f.write(s, 1, 4)
	f.write(s, 2, 5)
	require.Equal(t, []int64{1, 2, 3, 4, 5}, rows(t, srv))
	for _, m := range srv.Messages("OUT") {
		if m.Header.Get("Tidemill-Marker") != "" {
			require.Equal(t, "out._c.q.out", m.Subject)
		} else {
			require.Equal(t, "out", m.Subject)
		}
	}
}

func TestOlderOwnerIsFenced(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	old := f.open()
	f.write(old, 0, 1)
	f.owner.Epoch = 2
	f.owner.Last = &stream.Marker{Query: query, Batch: 0, IntentCRC: 7}
	s := f.open()
	err := old.Write(t.Context(), f.batch(1, 99))
	requireCode(t, diag.SinkFenced, err)
	require.False(t, diag.Temporary(err))
	f.write(s, 1, 2)
	require.Equal(t, []int64{1, 2}, rows(t, srv))
	f.owner.Epoch = 1
	requireCode(t, diag.SinkFenced, f.make().Open(t.Context(), f.owner))
}

func TestLostAnswers(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, nil)
	s := f.open()
	next := int64(0)
	for batch := range int64(12) {
		proxy.LoseAnswerTo([]string{"Nats-Batch-Commit", "Nats-Batch-Id", "Tidemill-Marker"}[batch%3])
		d := f.batch(batch, upTo(next, next+4)...)
		next += 5
		eventually(t, s, d)
	}
	require.Equal(t, 12, proxy.Lost())
	require.Equal(t, upTo(0, next-1), rows(t, srv))
}

func TestLargeBatchGoesOnWhereItStopped(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, stream.Options{"payload": "json"})
	s := f.open()
	f.write(s, 0, 0)
	ctx, cancel := context.WithCancel(t.Context())
	// The second chunk's commit gets no answer, and then the process is gone.
	stop := &cutter{stager: f.stage, after: func() { proxy.LoseAnswerTo(`"done":1998`) }}
	broken := f.makeWith(stop)
	f.owner.Last, f.owner.Epoch = &stream.Marker{Query: query, Batch: 0, IntentCRC: 7}, 2
	require.NoError(t, broken.Open(ctx, f.owner))
	stop.cancel = cancel
	err := broken.Write(ctx, f.batch(1, upTo(1, 3000)...))
	if err != nil { // it may also have come through after a reconnect; both must give the same rows
		require.True(t, diag.Temporary(err) || errors.Is(err, context.Canceled), "%v", err)
	}
	f.owner.Epoch, f.owner.Pending = 3, &stream.Marker{Query: query, Batch: 1, IntentCRC: 8}
	f.url = srv.URL()
	s = f.open()
	// The query gives other rows now; the staged ones count.
	f.write(s, 1, upTo(5001, 8000)...)
	f.write(s, 2, 3001)
	require.Equal(t, upTo(0, 3001), rows(t, srv))
	requireCode(t, diag.SinkFenced, final(t, broken, f.batch(2, 77)))
}

// cutter is a stager that does something once a result is staged.
type cutter struct {
	*stager
	after  func()
	cancel func()
}

func (c *cutter) Stage(ctx context.Context, batch int64, name string, data []byte) error {
	defer c.after()
	return c.stager.Stage(ctx, batch, name, data)
}

func (f *fixture) makeWith(st stream.Stager) stream.Sink {
	f.t.Helper()
	all := stream.Options{"url": f.url, "stream": "OUT", "connect_timeout": patience, "payload": "json"}
	s, err := sink.Connector(nil).Open(f.t.Context(), stream.SinkConfig{Name: "out", Options: all, Schema: schema, Stage: st})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, s.Close()) })
	return s
}

func TestChunkIsLostWithItsStagedBytes(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, stream.Options{"payload": "json"})
	s := f.open()
	ctx, cancel := context.WithCancel(t.Context())
	proxy.LoseAnswerTo(`"done":1998`)
	go func() {
		for proxy.Lost() == 0 && ctx.Err() == nil {
			<-time.After(time.Millisecond)
		}
		cancel()
	}()
	err := s.Write(ctx, f.batch(0, upTo(1, 3000)...))
	require.Error(t, err)
	cancel()
	clear(f.stage.data)
	f.owner.Epoch, f.owner.Pending = 2, &stream.Marker{Query: query, Batch: 0, IntentCRC: 7}
	f.url = srv.URL()
	s = f.open()
	requireCode(t, diag.SinkMismatch, s.Write(t.Context(), f.batch(0, upTo(1, 3000)...)))
}

func TestMarkersThatDoNotFit(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	f.write(f.open(), 0, 1)
	open := func(o stream.Owner) error { return f.make().Open(t.Context(), o) }
	last := &stream.Marker{Query: query, Batch: 0, IntentCRC: 7}
	other := stream.Owner{Query: "other", Name: "q", Epoch: 1}
	requireCode(t, diag.SinkMismatch, open(other)) // a deleted data dir, or two queries of one name
	requireCode(t, diag.SinkMismatch, open(stream.Owner{Query: query, Name: "q", Epoch: 2, Last: &stream.Marker{Query: query, Batch: 5}}))
	require.NoError(t, open(stream.Owner{Query: query, Name: "q", Epoch: 2, Last: last}))
	require.NoError(t, open(stream.Owner{Query: "third", Name: "another", Epoch: 1}))
	other.TakeOver = true
	require.NoError(t, open(other))

	s := f.make()
	require.NoError(t, s.Open(t.Context(), stream.Owner{Query: query, Name: "mine", Epoch: 1}))
	js, err := srv.JetStream().Stream(t.Context(), "OUT")
	require.NoError(t, err)
	require.NoError(t, js.Purge(t.Context()))
	requireCode(t, diag.SinkMismatch, s.Write(t.Context(), f.batch(0, 1)))
	requireCode(t, diag.SinkMismatch, open(stream.Owner{Query: query, Name: "q", Epoch: 3, Last: last}))
}

func TestSubjectsFromColumns(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), stream.Options{"subject": "out.{country}"})
	s := f.open()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i, c := range []string{"de", "a.b c", "", "de", "100%", "de"} {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append(c)
	}
	b.Field(0).(*array.Int64Builder).Append(6)
	b.Field(1).(*array.StringBuilder).AppendNull()
	d := f.batch(0)
	rec := b.NewRecord()
	defer rec.Release()
	d.Result.Records = []arrow.Record{rec}
	require.NoError(t, s.Write(t.Context(), d))
	got := map[string]string{}
	for _, m := range srv.Messages("OUT") {
		if m.Header.Get("Tidemill-Marker") == "" {
			got[m.Subject] += string(m.Data)
		}
	}
	require.Equal(t, map[string]string{
		"out.de":        "{\"id\":0,\"country\":\"de\"}\n{\"id\":3,\"country\":\"de\"}\n{\"id\":5,\"country\":\"de\"}\n",
		"out.a%2Eb%20c": "{\"id\":1,\"country\":\"a.b c\"}\n",
		"out.%":         "{\"id\":2,\"country\":\"\"}\n",
		"out.100%25":    "{\"id\":4,\"country\":\"100%\"}\n",
		"out.%N":        "{\"id\":6,\"country\":null}\n",
	}, got)
}

func TestUpdateMode(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	f.mode = stream.Update
	s := f.open()
	require.NoError(t, s.Write(t.Context(), changes(f)))
	js, err := srv.JetStream().Stream(t.Context(), "OUT")
	require.NoError(t, err)
	m, err := js.GetLastMsgForSubject(t.Context(), "out.de")
	require.NoError(t, err)
	require.Equal(t, `{"id":0,"country":"de"}`, string(m.Data))
	m, err = js.GetLastMsgForSubject(t.Context(), "out.fr")
	require.NoError(t, err)
	require.Empty(t, m.Data)
	require.Equal(t, "delete", m.Header.Get("Tidemill-Op"))
}

// TestPackedUpdates asks for the changes of several keys in one message, each with what it does to its key.
func TestPackedUpdates(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), stream.Options{"payload": "ndjson"})
	f.mode = stream.Update
	s := f.open()
	require.NoError(t, s.Write(t.Context(), changes(f)))
	f.write(s, 1, 7)
	var bodies []string
	for _, m := range srv.Messages("OUT") {
		if m.Header.Get("Tidemill-Marker") == "" {
			require.Equal(t, "out", m.Subject)
			bodies = append(bodies, string(m.Data))
		}
	}
	require.Equal(t, []string{`{"id":0,"country":"de","__op":"upsert"}` + "\n" + `{"id":1,"country":"fr","__op":"delete"}` + "\n",
		`{"id":7,"country":"fr"}` + "\n"}, bodies)
}

// changes is a batch that sets one key and takes another away.
func changes(f *fixture) stream.Delivery {
	op := arrow.NewSchema(append(schema.Fields(), arrow.Field{Name: stream.OpColumn, Type: arrow.BinaryTypes.String}), nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, op)
	defer b.Release()
	for i, o := range []string{stream.OpUpsert, stream.OpDelete} {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append([]string{"de", "fr"}[i])
		b.Field(2).(*array.StringBuilder).Append(o)
	}
	rec := b.NewRecord()
	f.t.Cleanup(rec.Release)
	d := f.batch(0)
	d.Result = stream.Batch{Schema: schema, Records: []arrow.Record{rec}, Keys: []int{1}, Op: true}
	return d
}

func TestArrowPayload(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), stream.Options{"payload": "arrow"})
	f.write(f.open(), 0, 1, 2, 3)
	var ids []int64
	for _, m := range srv.Messages("OUT") {
		if m.Header.Get("Tidemill-Marker") != "" {
			continue
		}
		r, err := ipc.NewReader(bytes.NewReader(m.Data))
		require.NoError(t, err)
		for r.Next() {
			ids = append(ids, r.Record().Column(0).(*array.Int64).Int64Values()...)
		}
		r.Release()
	}
	require.Equal(t, []int64{1, 2, 3}, ids)
}

func TestServerRestartBetweenBatches(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	s := f.open()
	f.write(s, 0, 1)
	srv.Restart()
	eventually(t, s, f.batch(1, 2))
	require.Equal(t, []int64{1, 2}, rows(t, srv))
}

func TestWithoutAtomicBatches(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out", "out.>"}})
	proxy := testkit.StartProxy(t, srv.URL())
	f := newFixture(t, proxy.URL, stream.Options{"payload": "json"})
	s := f.open()
	f.write(s, 0, upTo(1, 600)...)
	f.write(s, 0, upTo(1, 600)...)
	proxy.LoseAnswerTo(fmt.Sprintf("%s/1/00000008/300", query))
	eventually(t, s, f.batch(1, upTo(601, 1200)...))
	require.Equal(t, 1, proxy.Lost())
	require.Equal(t, upTo(1, 1200), rows(t, srv))

	// A process that dies in the middle of a batch; the next one goes on behind the last message it stored.
	ctx, cancel := context.WithCancel(t.Context())
	proxy.LoseAnswerTo(fmt.Sprintf("%s/2/00000009/400", query))
	go func() {
		for proxy.Lost() == 1 && ctx.Err() == nil {
			<-time.After(time.Millisecond)
		}
		cancel()
	}()
	require.Error(t, s.Write(ctx, f.batch(2, upTo(1201, 1800)...)))
	cancel()
	f.owner.Epoch = 2
	f.owner.Last = &stream.Marker{Query: query, Batch: 1, IntentCRC: 8}
	f.owner.Pending = &stream.Marker{Query: query, Batch: 2, IntentCRC: 9}
	f.url = srv.URL()
	next := f.open()
	f.write(next, 2, upTo(9001, 9600)...)
	require.Equal(t, upTo(1, 1800), rows(t, srv))
	requireCode(t, diag.SinkFenced, final(t, s, f.batch(3, 1)))
}

func TestStreamThatDoesNotFit(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out"}})
	err := newFixture(t, srv.URL(), nil).make().Open(t.Context(), stream.Owner{Query: query, Name: "q", Epoch: 1})
	requireCode(t, diag.BadOption, err)
	require.Contains(t, diag.Render(err), "out.>")
	f := newFixture(t, srv.URL(), stream.Options{"stream": "NEW", "create": false})
	requireCode(t, diag.SinkUnreachable, f.make().Open(t.Context(), f.owner))
	f = newFixture(t, "nats://127.0.0.1:1", nil)
	requireCode(t, diag.SinkUnreachable, f.make().Open(t.Context(), f.owner))
}

func TestRowLargerThanAMessage(t *testing.T) {
	srv := testkit.StartNATS(t)
	f := newFixture(t, srv.URL(), nil)
	s := f.open()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).Append(1)
	b.Field(1).(*array.StringBuilder).Append(strings.Repeat("x", 2<<20))
	rec := b.NewRecord()
	defer rec.Release()
	d := f.batch(0)
	d.Result.Records = []arrow.Record{rec}
	requireCode(t, diag.SinkFailed, s.Write(t.Context(), d))
	f.write(s, 0, 1)
	require.Equal(t, []int64{1}, rows(t, srv))
}

func TestBadOptions(t *testing.T) {
	for name, tt := range map[string]struct {
		options stream.Options
		mode    stream.Mode
		code    diag.Code
	}{
		"stream":       {stream.Options{"stream": "a b"}, stream.Append, diag.BadOption},
		"brace":        {stream.Options{"subject": "out.{id"}, stream.Append, diag.BadOption},
		"column":       {stream.Options{"subject": "out.{contry}"}, stream.Append, diag.UnknownColumn},
		"no prefix":    {stream.Options{"subject": "{id}.x"}, stream.Append, diag.BadOption},
		"wildcard":     {stream.Options{"subject": "out.*"}, stream.Append, diag.BadOption},
		"arrow":        {stream.Options{"subject": "out.{id}", "payload": "arrow"}, stream.Append, diag.BadOption},
		"arrow update": {stream.Options{"payload": "arrow"}, stream.Update, diag.BadOption},
		"packed other": {stream.Options{"payload": "ndjson", "subject": "out.{id}"}, stream.Update, diag.BadOption},
		"key":          {stream.Options{"subject": "out.{id}"}, stream.Update, diag.BadOption},
		"more":         {stream.Options{"subject": "out.{id}.{country}"}, stream.Update, diag.BadOption},
		"nothing said": {stream.Options{"stream": ""}, stream.Append, diag.MissingOption},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "nats://127.0.0.1:1", tt.options)
			f.mode = tt.mode
			_, err := f.tryMake()
			requireCode(t, tt.code, err)
		})
	}
}

func TestSubjectFindsItsStream(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(jetstream.StreamConfig{Name: "OUT", Subjects: []string{"dead.>"}, AllowAtomicPublish: true})
	options := stream.Options{"url": srv.URL(), "connect_timeout": time.Second, "subject": "dead.orders", "payload": "json",
		"rows_per_message": int64(1), "create": true, "replicas": int64(1)}
	s, err := sink.Connector(nil).Open(t.Context(), stream.SinkConfig{Name: "dlq", Options: options, Schema: schema})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	f := newFixture(t, srv.URL(), nil)
	require.NoError(t, s.Open(t.Context(), f.owner))
	require.NoError(t, s.Write(t.Context(), f.batch(0, 1, 2)))
	require.Equal(t, []int64{1, 2}, rows(t, srv))
}
