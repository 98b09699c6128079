package jetstream

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

func openInside(t testing.TB, s *testkit.Server, dir string) *source {
	t.Helper()
	src, err := open(stream.SourceConfig{
		Name: "src", Dir: dir, FS: vfs.OS{}, Log: slog.New(slog.DiscardHandler),
		Options: stream.Options{"url": s.URL(), "stream": "S", "connect_timeout": 30 * time.Second},
	}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, src.Close()) })
	return src.(*source) //nolint:forcetypeassert // a test
}

func texts(m *stream.Messages) string {
	var all []string
	for i := range m.Len() {
		all = append(all, string(m.Payload(i)))
	}
	return strings.Join(all, " ")
}

func fill(s *testkit.Server, n int) {
	s.Publish(n, func(i int) (string, []byte) { return fmt.Sprintf("s.%d", i%4), fmt.Appendf(nil, "%d", i+1) })
}

// A consumer that leaves out messages which the leader has is made again, and at last the leader is read.
func TestConsumerThatLeavesOutMessages(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	fill(s, 10)
	src := openInside(t, s, t.TempDir())
	// The feed has every other message only; the reader believes in all.
	src.feed.filters = []string{"s.0", "s.2"}
	in, err := src.Read(t.Context(), stream.Range{From: "0", To: "10"})
	require.NoError(t, err)
	require.Equal(t, "1 2 3 4 5 6 7 8 9 10", texts(in.Messages))
	require.Zero(t, in.Lost)
	whole, err := openInside(t, s, t.TempDir()).Read(t.Context(), stream.Range{From: "0", To: "10"})
	require.NoError(t, err)
	require.Equal(t, whole.CRC, in.CRC)
}

// A consumer that goes away without a word is made again.
func TestConsumerThatDies(t *testing.T) {
	s := testkit.StartNATS(t)
	js := s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	fill(s, 10)
	src := openInside(t, s, t.TempDir())
	in, err := src.Read(t.Context(), stream.Range{From: "0", To: "10"})
	require.NoError(t, err)
	require.Equal(t, 10, in.Messages.Len())
	for name := range js.ConsumerNames(t.Context()).Name() {
		require.NoError(t, js.DeleteConsumer(t.Context(), name))
	}
	fill(s, 10)
	in, err = src.Read(t.Context(), stream.Range{From: "10", To: "20"})
	require.NoError(t, err)
	require.Equal(t, "1 2 3 4 5 6 7 8 9 10", texts(in.Messages))
}

// Streams with a limit per subject forget single messages; what was read once is read the same again.
func TestVolatileStreamsAreSpooled(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxMsgsPerSubject: 1})
	fill(s, 6) // 3 4 5 6 are left
	dir := t.TempDir()
	src := openInside(t, s, dir)
	r := stream.Range{From: "0", To: "6"}
	a, err := src.Available(t.Context(), "0", "", stream.Limit{})
	require.NoError(t, err)
	require.Equal(t, stream.Offset("6"), a.To)
	first, err := src.Read(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, "3 4 5 6", texts(first.Messages))
	require.Zero(t, first.Lost)
	fill(s, 4)
	again, err := openInside(t, s, dir).Read(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, first, again)

	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	data, err := os.ReadFile(names[0])
	require.NoError(t, err)
	data[len(data)/2] ^= 1
	require.NoError(t, os.WriteFile(names[0], data, 0o600))
	_, err = src.Read(t.Context(), r)
	require.Equal(t, diag.StateCorrupt, diag.CodeOf(err))
	require.NoError(t, src.Acknowledge(t.Context(), "5"))
	require.FileExists(t, names[0])
	require.NoError(t, src.Acknowledge(t.Context(), "6"))
	require.NoFileExists(t, names[0])
	require.NoError(t, src.Acknowledge(t.Context(), "6"))
}

// Reading while messages come in, and while the server restarts, loses and doubles nothing.
func TestTailWithProducerAndRestarts(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	src := openInside(t, s, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	from, identity, got := stream.Offset("0"), "", 0
	for round := range 6 {
		fill(s, 200)
		if round%2 == 1 {
			s.Restart()
		}
		for got < (round+1)*200 {
			a, err := src.Available(ctx, from, identity, stream.Limit{Rows: 37})
			if err != nil {
				require.True(t, diag.Temporary(err), "%v", err)
				continue
			}
			identity = a.Identity
			if a.To == from {
				require.NoError(t, src.Wait(ctx, from))
				continue
			}
			in, err := src.Read(ctx, stream.Range{From: from, To: a.To, Identity: identity})
			if err != nil {
				require.True(t, diag.Temporary(err), "%v", err)
				continue
			}
			for i, seq := range in.Messages.Sequence {
				require.Equal(t, uint64(got+1), seq)
				require.Equal(t, fmt.Sprint(got%200+1), string(in.Messages.Payload(i)))
				got++
			}
			from = a.To
		}
	}
}

// The engine's logger names the source; a line names it once.
func TestLogLinesNameTheSourceOnce(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxMsgsPerSubject: 1})
	fill(s, 6)
	src := openInside(t, s, t.TempDir())
	var log bytes.Buffer
	src.cfg.Log = slog.New(slog.NewTextHandler(&log, nil)).With("source", "src")
	_, err := src.Available(t.Context(), "0", "", stream.Limit{})
	require.NoError(t, err)
	_, err = src.Read(t.Context(), stream.Range{From: "0", To: "6"})
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(log.String(), "source=src"), log.String())
}
