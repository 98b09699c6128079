package jetstream_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/internal/testkit"
	source "github.com/tidemill/tidemill/sources/jetstream"
	"github.com/tidemill/tidemill/stream"
)

// open opens a source on a server with options beside url and stream.
func open(t testing.TB, s *testkit.Server, options stream.Options, columns ...stream.Column) stream.Source {
	t.Helper()
	all := stream.Options{"url": s.URL(), "stream": "S", "connect_timeout": 30 * time.Second}
	for k, v := range options {
		all[k] = v
	}
	src, err := source.Connector(nil).Open(t.Context(), stream.SourceConfig{Name: "src", Options: all, Columns: columns})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	return src
}

// numbered publishes n messages to subject: payloads count from first.
func numbered(s *testkit.Server, subject string, first, n int) {
	s.Publish(n, func(i int) (string, []byte) { return subject, []byte(strconv.Itoa(first + i)) })
}

func basic(t testing.TB, change ...func(*natsd.Options)) *testkit.Server {
	t.Helper()
	s := testkit.StartNATS(t, change...)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	return s
}

func read(t testing.TB, src stream.Source, from, to int, identity string) *stream.Input {
	t.Helper()
	in, err := src.Read(t.Context(), span(from, to, identity))
	require.NoError(t, err)
	return in
}

func span(from, to int, identity string) stream.Range {
	return stream.Range{From: off(from), To: off(to), Identity: identity}
}

func off(n int) stream.Offset { return stream.Offset(strconv.Itoa(n)) }

// payloads returns what came, as text.
func payloads(m *stream.Messages) []string {
	var all []string
	for i := range m.Len() {
		all = append(all, string(m.Payload(i)))
	}
	return all
}

// counted is the payloads from first to last.
func counted(first, last int) []string {
	var all []string
	for i := first; i <= last; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

func available(t testing.TB, src stream.Source, from int, limit stream.Limit) stream.Available {
	t.Helper()
	a, err := src.Available(t.Context(), off(from), "", limit)
	require.NoError(t, err)
	return a
}

func requireCode(t testing.TB, want diag.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, diag.CodeOf(err), diag.Render(err))
}

func TestRangesAreExactForAnySlicing(t *testing.T) {
	s := basic(t)
	numbered(s, "s.a", 1, 1000)
	whole := read(t, open(t, s, nil), 0, 1000, "")
	require.Equal(t, counted(1, 1000), payloads(whole.Messages))
	require.NotZero(t, whole.CRC)
	for _, size := range []int{1, 7, 100, 333, 999} {
		src := open(t, s, nil)
		for from := 0; from < 1000; from += size {
			to := min(1000, from+size)
			in := read(t, src, from, to, "")
			require.Equal(t, counted(from+1, to), payloads(in.Messages))
			require.Equal(t, uint64(from+1), in.Messages.Sequence[0])
		}
	}
	// Backwards, and the same again: nothing depends on the consumer's position.
	src := open(t, s, nil)
	for from := 900; from >= 0; from -= 100 {
		require.Equal(t, counted(from+1, from+100), payloads(read(t, src, from, from+100, "").Messages))
		require.Equal(t, counted(from+1, from+100), payloads(read(t, src, from, from+100, "").Messages))
	}
	require.Equal(t, whole.CRC, read(t, src, 0, 1000, "").CRC)
}

func TestAvailableKeepsToLimits(t *testing.T) {
	s := basic(t)
	src := open(t, s, nil)
	require.Equal(t, off(0), available(t, src, 0, stream.Limit{}).To)
	s.Publish(100, func(int) (string, []byte) { return "s.a", make([]byte, 1000) })
	a := available(t, src, 0, stream.Limit{Rows: 30})
	require.Equal(t, off(30), a.To)
	require.Equal(t, int64(70), a.Behind)
	require.Equal(t, off(100), available(t, src, 0, stream.Limit{}).To)
	require.Equal(t, off(50), available(t, src, 0, stream.Limit{Until: off(50)}).To)
	require.Equal(t, off(1), available(t, src, 0, stream.Limit{Bytes: 1}).To)
	// Once messages are in the buffer, their own sizes count.
	read(t, src, 0, 1, "")
	require.Eventually(t, func() bool {
		return available(t, src, 1, stream.Limit{Bytes: 10_500}).To == off(11)
	}, time.Minute, time.Millisecond)
	require.Equal(t, off(2), available(t, src, 1, stream.Limit{Bytes: 10}).To)
	require.Equal(t, off(100), available(t, src, 100, stream.Limit{Rows: 5}).To)
}

func TestStartPositions(t *testing.T) {
	s := basic(t)
	st, err := s.JetStream().Stream(t.Context(), "S")
	require.NoError(t, err)
	start := func(text string) (stream.Offset, error) {
		at, _, err := open(t, s, stream.Options{"start": text}).Start(t.Context())
		return at, err //nolint:wrapcheck // a test
	}
	for _, text := range []string{"earliest", "latest", "1", "2020-01-01T00:00:00Z"} {
		at, err := start(text)
		require.NoError(t, err)
		require.Equal(t, off(0), at, text)
	}
	numbered(s, "s.a", 1, 10)
	sixth, err := st.GetMsg(t.Context(), 6)
	require.NoError(t, err)
	require.NoError(t, st.Purge(t.Context(), jetstream.WithPurgeSequence(4)))
	for text, want := range map[string]int{
		"earliest": 3, "latest": 10, "7": 6, "11": 10, "2020-01-01": 3,
		sixth.Time.Format(time.RFC3339Nano):                      5,
		time.Now().Add(time.Hour).UTC().Format(time.RFC3339Nano): 10,
	} {
		at, err := start(text)
		require.NoError(t, err)
		require.Equal(t, off(want), at, text)
	}
	bound, ok := open(t, s, nil).(stream.TimeBound)
	require.True(t, ok)
	for want, when := range map[int]time.Time{5: sixth.Time, 6: sixth.Time.Add(1), 3: {}, 10: time.Now().Add(time.Hour)} {
		at, err := bound.At(t.Context(), when)
		require.NoError(t, err)
		require.Equal(t, off(want), at)
	}
	_, err = start("12")
	requireCode(t, diag.BadOption, err)
	require.NoError(t, st.Purge(t.Context()))
	at, err := start("earliest")
	require.NoError(t, err)
	require.Equal(t, off(10), at)
}

func TestPurgedRange(t *testing.T) {
	s := basic(t)
	numbered(s, "s.a", 1, 20)
	st, err := s.JetStream().Stream(t.Context(), "S")
	require.NoError(t, err)
	require.NoError(t, st.Purge(t.Context(), jetstream.WithPurgeSequence(11)))
	src := open(t, s, nil)
	_, err = src.Available(t.Context(), off(5), "", stream.Limit{})
	requireCode(t, diag.DataLoss, err)
	require.ErrorContains(t, err, "sequences 6 to 10")
	_, err = src.Read(t.Context(), span(5, 15, ""))
	requireCode(t, diag.DataLoss, err)
	require.ErrorContains(t, err, "sequences 6 to 10")

	src = open(t, s, stream.Options{"on_data_loss": "skip"})
	require.Equal(t, off(14), available(t, src, 5, stream.Limit{Rows: 4}).To)
	in := read(t, src, 5, 15, "")
	require.Equal(t, counted(11, 15), payloads(in.Messages))
	require.Equal(t, int64(5), in.Lost)
	in = read(t, src, 2, 8, "")
	require.Nil(t, in.Messages)
	require.Equal(t, int64(6), in.Lost)
}

func TestAgedOutRange(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxMsgs: 5})
	numbered(s, "s.a", 1, 12)
	_, err := open(t, s, nil).Available(t.Context(), off(0), "", stream.Limit{})
	requireCode(t, diag.DataLoss, err)
	require.ErrorContains(t, err, "sequences 1 to 7")
}

func TestDeletedMessagesInside(t *testing.T) {
	s := basic(t)
	numbered(s, "s.a", 1, 10)
	st, err := s.JetStream().Stream(t.Context(), "S")
	require.NoError(t, err)
	for _, seq := range []uint64{4, 5, 10} {
		require.NoError(t, st.DeleteMsg(t.Context(), seq))
	}
	_, err = open(t, s, nil).Read(t.Context(), span(0, 10, ""))
	requireCode(t, diag.DataLoss, err)
	require.ErrorContains(t, err, "sequences 4 to 5")
	require.Contains(t, diag.Render(err), "somebody deleted them")
	_, err = open(t, s, nil).Read(t.Context(), span(8, 10, ""))
	require.ErrorContains(t, err, "sequence 10 ")

	in := read(t, open(t, s, stream.Options{"on_data_loss": "skip"}), 0, 10, "")
	require.Equal(t, []string{"1", "2", "3", "6", "7", "8", "9"}, payloads(in.Messages))
	require.Equal(t, int64(3), in.Lost)
}

func TestStreamWithOnlyDeletedMessages(t *testing.T) {
	s := basic(t)
	numbered(s, "s.a", 1, 3)
	st, err := s.JetStream().Stream(t.Context(), "S")
	require.NoError(t, err)
	for seq := range uint64(3) {
		require.NoError(t, st.DeleteMsg(t.Context(), seq+1))
	}
	src := open(t, s, nil)
	at, _, err := src.Start(t.Context())
	require.NoError(t, err)
	require.Equal(t, off(3), at)
	require.Equal(t, off(3), available(t, src, 3, stream.Limit{}).To)
	in := read(t, open(t, s, stream.Options{"on_data_loss": "skip"}), 0, 3, "")
	require.Nil(t, in.Messages)
	require.Equal(t, int64(3), in.Lost)
}

func TestReplacedStreamIsNoticed(t *testing.T) {
	s := basic(t)
	numbered(s, "s.a", 1, 10)
	src := open(t, s, nil)
	identity := available(t, src, 0, stream.Limit{}).Identity
	read(t, src, 0, 5, identity)
	js := s.JetStream()
	require.NoError(t, js.DeleteStream(t.Context(), "S"))
	_, err := src.Available(t.Context(), off(5), identity, stream.Limit{})
	requireCode(t, diag.SourceUnreachable, err)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	numbered(s, "s.a", 101, 10)
	_, err = src.Available(t.Context(), off(5), identity, stream.Limit{})
	requireCode(t, diag.SourceReplaced, err)
	_, err = src.Read(t.Context(), span(5, 10, identity))
	requireCode(t, diag.SourceReplaced, err)
	_, err = open(t, s, nil).Available(t.Context(), off(11), "", stream.Limit{})
	requireCode(t, diag.DataLoss, err)
}

func TestServerRestartsInTheMiddle(t *testing.T) {
	s := basic(t)
	numbered(s, "s.a", 1, 500)
	src := open(t, s, nil)
	a := available(t, src, 0, stream.Limit{})
	next := 0
	for round := range 4 {
		for range 5 {
			in := eventually(t, src, span(next, next+10, a.Identity))
			require.Equal(t, counted(next+1, next+10), payloads(in.Messages))
			next += 10
		}
		s.Restart()
		numbered(s, "s.a", 501+round*10, 10)
	}
	in := eventually(t, src, span(next, 540, a.Identity))
	require.Equal(t, counted(next+1, 540), payloads(in.Messages))
}

// eventually reads a range and tries again for as long as the fault is temporary.
func eventually(t testing.TB, src stream.Source, r stream.Range) *stream.Input {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		in, err := src.Read(t.Context(), r)
		if err == nil {
			return in
		}
		require.True(t, diag.Temporary(err), "%+v", err)
		require.True(t, time.Now().Before(deadline), "%v", err)
	}
}

func TestFilteredSubjects(t *testing.T) {
	s := basic(t)
	s.Publish(300, func(i int) (string, []byte) {
		return fmt.Sprintf("s.%c.x", 'a'+i%3), []byte(strconv.Itoa(i + 1))
	})
	numbered(s, "s.z", 0, 50) // never matches
	src := open(t, s, stream.Options{"subject": []string{"s.a.*", "s.c.>"}})
	var got []string
	from := 0
	for range 1000 {
		a := available(t, src, from, stream.Limit{Rows: 7})
		if a.To == off(from) {
			break
		}
		to, err := strconv.Atoi(string(a.To))
		require.NoError(t, err)
		in := read(t, src, from, to, a.Identity)
		require.LessOrEqual(t, in.Messages.Len(), 7)
		got = append(got, payloads(in.Messages)...)
		from = to
	}
	var want []string
	for i := range 300 {
		if i%3 != 1 {
			want = append(want, strconv.Itoa(i+1))
		}
	}
	require.Equal(t, want, got)
	require.Equal(t, want, payloads(read(t, src, 0, 350, "").Messages))
	require.Nil(t, read(t, src, 300, 350, "").Messages)
}

func TestFilteredTailLosesNothing(t *testing.T) {
	s := basic(t)
	src := open(t, s, stream.Options{"subject": []string{"s.a"}})
	var got []string
	from := 0
	for i := range 200 {
		numbered(s, "s.a", i, 1)
		if i%3 == 0 {
			numbered(s, "s.b", i, 2)
		}
		a := available(t, src, from, stream.Limit{})
		to, err := strconv.Atoi(string(a.To))
		require.NoError(t, err)
		got = append(got, payloads(read(t, src, from, to, a.Identity).Messages)...)
		from = to
	}
	require.Equal(t, counted(0, 199), got)
}

func TestWaitWakesUp(t *testing.T) {
	s := basic(t)
	src := open(t, s, nil)
	w, ok := src.(stream.Waiter)
	require.True(t, ok)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, w.Wait(ctx, off(0)), context.Canceled)
	done := make(chan error, 1)
	go func() { done <- w.Wait(t.Context(), off(0)) }()
	numbered(s, "s.a", 1, 1)
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "not woken")
	}
	require.Equal(t, off(1), available(t, src, 0, stream.Limit{}).To)
	require.NoError(t, w.Wait(t.Context(), off(0)))
}

func TestLargeMessagesAndHeaders(t *testing.T) {
	s := basic(t, func(o *natsd.Options) { o.MaxPayload = 12 << 20 })
	big := make([]byte, 10<<20)
	s.Publish(4, func(i int) (string, []byte) {
		big[0] = byte('0' + i)
		return "s.big", append([]byte(nil), big...)
	})
	msg := nats("s.h", "body", map[string][]string{"A": {"1", "2"}, "B": {"x"}})
	_, err := s.JetStream().PublishMsg(t.Context(), msg)
	require.NoError(t, err)
	numbered(s, "s.a", 1, 1)
	src := open(t, s, nil, stream.Column{Name: "subject", Metadata: true}, stream.Column{Name: "headers", Metadata: true},
		stream.Column{Name: "published_at", Metadata: true})
	in := read(t, src, 0, 6, "")
	require.Equal(t, 6, in.Messages.Len())
	for i := range 4 {
		require.Len(t, in.Messages.Payload(i), 10<<20)
		require.Equal(t, byte('0'+i), in.Messages.Payload(i)[0])
	}
	require.Equal(t, "body", string(in.Messages.Payload(4)))
	require.Equal(t, map[string]string{"A": "1", "B": "x"}, in.Messages.Headers[4])
	require.Nil(t, in.Messages.Headers[5])
	require.Equal(t, []string{"s.big", "s.big", "s.big", "s.big", "s.h", "s.a"}, in.Messages.Subject)
	require.InDelta(t, time.Now().UnixMicro(), in.Messages.Published[5], 60e6)
	require.Nil(t, read(t, open(t, s, nil), 4, 6, "").Messages.Subject)
}

func TestUnreachableAndRefused(t *testing.T) {
	s := basic(t, func(o *natsd.Options) { o.User, o.Password = "joe", "secret" })
	start := func(options stream.Options) error {
		_, _, err := open(t, s, options).Start(t.Context())
		return err
	}
	require.NoError(t, start(stream.Options{"user": "joe", "password": "secret"}))
	err := start(stream.Options{"user": "joe", "password": "wrong"})
	requireCode(t, diag.SourceUnreachable, err)
	require.Contains(t, diag.Render(err), "credentials")
	require.NotContains(t, diag.Render(err), "wrong")
	require.False(t, diag.Temporary(err))
	requireCode(t, diag.SourceUnreachable, start(nil))
	err = start(stream.Options{"user": "joe", "password": "secret", "stream": "NONE"})
	requireCode(t, diag.SourceUnreachable, err)
	require.ErrorContains(t, err, `stream "NONE" does not exist`)
	err = start(stream.Options{"url": "nats://127.0.0.1:1"})
	requireCode(t, diag.SourceUnreachable, err)
	require.NotEmpty(t, diag.All(err)[0].Hint)
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]stream.Options{
		"stream":   {"stream": "a.b"},
		"start":    {"start": "yesterday"},
		"zero":     {"start": "0"},
		"subject":  {"subject": []string{"a..b"}},
		"two ways": {"user": "u", "token": "t"},
		"password": {"password": "p"},
		"cert":     {"tls_cert": "x"},
	} {
		t.Run(name, func(t *testing.T) {
			all := stream.Options{"stream": "S"}
			for k, v := range o {
				all[k] = v
			}
			_, err := source.Connector(nil).Open(t.Context(), stream.SourceConfig{Name: "src", Options: all})
			requireCode(t, diag.BadOption, err)
		})
	}
	_, err := source.Connector(nil).Open(t.Context(), stream.SourceConfig{Name: "src",
		Options: stream.Options{"stream": "S", "credentials": "/does/not/exist"}})
	requireCode(t, diag.ReadFailed, err)
}

func nats(subject, body string, header map[string][]string) *natsgo.Msg {
	return &natsgo.Msg{Subject: subject, Data: []byte(body), Header: header}
}
