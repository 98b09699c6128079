package jetstream_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/internal/vfs"
	source "github.com/tidemill/tidemill/sources/jetstream"
	"github.com/tidemill/tidemill/stream"
)

const (
	uuid1 = "0191d8a0-0000-7000-8000-000000000001"
	uuid2 = "0191d8a0-0000-7000-8000-000000000002"
)

func queueConfig(s *testkit.Server, name, query string, disk vfs.FS) stream.SourceConfig {
	return stream.SourceConfig{Name: "src", Query: query, FS: disk, Dir: "/data/src",
		Options: stream.Options{"url": s.URL(), "stream": name, "connect_timeout": 30 * time.Second}}
}

func openQueue(t testing.TB, cfg stream.SourceConfig) stream.Source {
	t.Helper()
	src, err := source.Connector(nil).Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	return src
}

// waiting returns how many messages the stream still holds.
func waiting(t testing.TB, s *testkit.Server, name string) int {
	t.Helper()
	st, err := s.JetStream().Stream(t.Context(), name)
	require.NoError(t, err)
	return int(st.CachedInfo().State.Msgs) //nolint:gosec // few
}

func TestQueueForgetsWhatAStateVersionHolds(t *testing.T) {
	s := testkit.StartNATS(t)
	for _, retention := range []string{"workqueue", "interest"} {
		t.Run(retention, func(t *testing.T) {
			name := retention[:4]
			s.NewStream(name, retention, name+".>")
			disk := vfs.NewMem()
			src := openQueue(t, queueConfig(s, name, uuid1, disk))
			at, _, err := src.Start(t.Context())
			require.NoError(t, err)
			require.Equal(t, off(0), at)
			numbered(s, name+".a", 1, 10)
			first := read(t, src, 0, 6, "")
			require.Equal(t, counted(1, 6), payloads(first.Messages))
			require.Equal(t, counted(7, 9), payloads(read(t, src, 6, 9, "").Messages))
			require.Equal(t, 10, waiting(t, s, name))
			require.NoError(t, src.Acknowledge(t.Context(), off(6)))
			require.Equal(t, 4, waiting(t, s, name))
			require.NoError(t, src.Acknowledge(t.Context(), off(6)))
			require.NoError(t, src.Close())

			// Another life: what was read and not acknowledged comes from the spool, the rest from the server.
			numbered(s, name+".b", 11, 2)
			src = openQueue(t, queueConfig(s, name, uuid1, disk))
			require.Equal(t, counted(7, 9), payloads(read(t, src, 6, 9, "").Messages))
			require.Equal(t, off(12), available(t, src, 9, stream.Limit{}).To)
			require.Equal(t, counted(10, 12), payloads(read(t, src, 9, 12, "").Messages))
			require.NoError(t, src.Acknowledge(t.Context(), off(9)))
			require.Equal(t, 3, waiting(t, s, name))
			require.NoError(t, src.Acknowledge(t.Context(), off(12)))
			require.Zero(t, waiting(t, s, name))
			names, err := disk.List("/data/src")
			require.NoError(t, err)
			require.Empty(t, names)
		})
	}
}

func TestQueueHasOneReader(t *testing.T) {
	s := testkit.StartNATS(t)
	s.NewStream("Q", "workqueue", "q.>")
	start := func(cfg stream.SourceConfig) error {
		_, _, err := openQueue(t, cfg).Start(t.Context())
		return err //nolint:wrapcheck // a test
	}
	require.NoError(t, start(queueConfig(s, "Q", uuid1, vfs.NewMem())))
	require.NoError(t, start(queueConfig(s, "Q", uuid1, vfs.NewMem()))) // again, before the offset was logged
	err := start(queueConfig(s, "Q", uuid2, vfs.NewMem()))
	requireCode(t, diag.SourceTaken, err)
	require.Contains(t, diag.Render(err), uuid1)
	require.False(t, diag.Temporary(err))
	requireCode(t, diag.BadOption, start(queueConfig(s, "Q", "", vfs.NewMem())))
	late := queueConfig(s, "Q", uuid1, vfs.NewMem())
	late.Options["start"] = "latest"
	requireCode(t, diag.BadOption, start(late))

	s.NewStream("F", "workqueue", "f.>")
	filtered := func(query, subject string) stream.SourceConfig {
		cfg := queueConfig(s, "F", query, vfs.NewMem())
		cfg.Options["subject"] = []string{subject}
		return cfg
	}
	require.NoError(t, start(filtered(uuid1, "f.a.*")))
	require.NoError(t, start(filtered(uuid2, "f.b")))
	requireCode(t, diag.SourceTaken, start(filtered(uuid2+"x", "f.a.b")))

	s.NewStream("I", "interest", "i.>")
	require.NoError(t, start(queueConfig(s, "I", uuid1, vfs.NewMem())))
	require.NoError(t, start(queueConfig(s, "I", uuid2, vfs.NewMem())))
	require.NoError(t, s.JetStream().DeleteConsumer(t.Context(), "I", "tidemill-"+uuid2+"-6044248d"),
		"the name of the consumer is a promise: a new version must find the old one")
	_, err = openQueue(t, queueConfig(s, "I", uuid2, vfs.NewMem())).Read(t.Context(), span(0, 1, ""))
	requireCode(t, diag.DataLoss, err)
}

func TestFilteredQueue(t *testing.T) {
	s := testkit.StartNATS(t)
	s.NewStream("Q", "workqueue", "q.>")
	disk := vfs.NewMem()
	cfg := queueConfig(s, "Q", uuid1, disk)
	cfg.Options["subject"] = []string{"q.a"}
	src := openQueue(t, cfg)
	_, _, err := src.Start(t.Context())
	require.NoError(t, err)
	s.Publish(40, func(i int) (string, []byte) { return "q." + string(rune('a'+i%2)), []byte(strconv.Itoa(i)) })
	require.Equal(t, []string{"0", "2", "4", "6", "8"}, payloads(read(t, src, 0, 10, "").Messages))
	require.NoError(t, src.Acknowledge(t.Context(), off(10)))
	require.Equal(t, 35, waiting(t, s, "Q"))
	s.Restart()
	in := eventually(t, src, span(10, 20, ""))
	require.Equal(t, []string{"10", "12", "14", "16", "18"}, payloads(in.Messages))
	require.NoError(t, src.Close())
	src = openQueue(t, cfg)
	require.Len(t, payloads(read(t, src, 20, 40, "").Messages), 10)
	require.NoError(t, src.Acknowledge(t.Context(), off(40)))
	require.Equal(t, 20, waiting(t, s, "Q"))
}

// book is what a query's log keeps of a source: enough to say what must come again and what must not.
type book struct {
	begun   bool
	start   stream.Offset
	intents []stream.Range
	rows    [][]string // of each committed batch
	version int        // so many batches are held by a state version
}

func (b *book) position() stream.Offset {
	if n := len(b.rows); n > 0 {
		return b.intents[n-1].To
	}
	return b.start
}

// live is one life of a query: replay what the state version does not hold, then go on to the end.
func (b *book) live(t *testing.T, src stream.Source, end stream.Offset) error {
	t.Helper()
	if !b.begun {
		at, _, err := src.Start(t.Context())
		if err != nil {
			return err //nolint:wrapcheck // a test
		}
		b.start, b.begun = at, true
	}
	for i := b.version; i < len(b.rows); i++ {
		in, err := src.Read(t.Context(), b.intents[i])
		if err != nil {
			return err //nolint:wrapcheck // a test
		}
		require.Equal(t, b.rows[i], payloads(in.Messages), "replay of batch %d", i)
	}
	for b.position() != end {
		if len(b.intents) == len(b.rows) {
			a, err := src.Available(t.Context(), b.position(), "", stream.Limit{Rows: 2})
			if err != nil {
				return err //nolint:wrapcheck // a test
			}
			b.intents = append(b.intents, stream.Range{From: b.position(), To: a.To, Identity: a.Identity})
		}
		in, err := src.Read(t.Context(), b.intents[len(b.rows)])
		if err != nil {
			return err //nolint:wrapcheck // a test
		}
		b.rows = append(b.rows, payloads(in.Messages))
		if len(b.rows)%2 == 0 {
			b.version = len(b.rows)
			if err := src.Acknowledge(t.Context(), b.position()); err != nil {
				return err //nolint:wrapcheck // a test
			}
		}
	}
	b.version = len(b.rows)
	return src.Acknowledge(t.Context(), end) //nolint:wrapcheck // a test
}

// TestQueueCrashes stops the machine after every call to the disk, with a part of what was not synced lost, and asks
// that the next life neither loses nor doubles a message and leaves nothing behind.
func TestQueueCrashes(t *testing.T) {
	s := testkit.StartNATS(t)
	const n = 9
	for stop := int64(0); ; stop++ {
		name := fmt.Sprintf("Q%d", stop)
		s.NewStream(name, []string{"workqueue", "interest"}[stop%2], name+".>")
		disk := vfs.NewMem()
		fault := vfs.NewFault(disk)
		fault.StopAfter(stop)
		b := &book{}
		src := openQueue(t, queueConfig(s, name, uuid1, fault))
		at, _, err := src.Start(t.Context()) // the stream has a reader before it has messages
		require.NoError(t, err)
		b.start, b.begun = at, true
		numbered(s, name+".a", 1, n)
		err = b.live(t, src, off(n))
		require.NoError(t, src.Close())
		if err != nil {
			require.ErrorIs(t, err, vfs.ErrCrashed)
			after := disk.Crash([]float64{0, 0.5, 1}[stop%3], stop)
			src = openQueue(t, queueConfig(s, name, uuid1, after))
			require.NoError(t, b.live(t, src, off(n)), "stopped after %d calls", stop)
			require.NoError(t, src.Close())
			disk = after
		}
		var all []string
		for _, rows := range b.rows {
			all = append(all, rows...)
		}
		require.Equal(t, counted(1, n), all, "stopped after %d calls", stop)
		require.Zero(t, waiting(t, s, name), "stopped after %d calls", stop)
		names, lerr := disk.List("/data/src")
		require.NoError(t, lerr)
		require.Empty(t, names, "stopped after %d calls", stop)
		if err == nil {
			require.Greater(t, stop, int64(20))
			return
		}
	}
}

// TestOldMessagesOfAQueue asks that messages which others left before the query began are read too.
func TestOldMessagesOfAQueue(t *testing.T) {
	s := testkit.StartNATS(t)
	st := s.CreateStream(jetstream.StreamConfig{Name: "Q", Subjects: []string{"q.>"}, Retention: jetstream.WorkQueuePolicy})
	numbered(s, "q.a", 1, 10)
	require.NoError(t, st.DeleteMsg(t.Context(), 1))
	require.NoError(t, st.DeleteMsg(t.Context(), 5))
	src := openQueue(t, queueConfig(s, "Q", uuid1, vfs.NewMem()))
	at, _, err := src.Start(t.Context())
	require.NoError(t, err)
	require.Equal(t, off(1), at)
	require.Equal(t, []string{"2", "3", "4", "6", "7", "8", "9", "10"}, payloads(read(t, src, 1, 10, "").Messages))
	require.NoError(t, src.Acknowledge(t.Context(), off(10)))
	require.Zero(t, waiting(t, s, "Q"))
}
