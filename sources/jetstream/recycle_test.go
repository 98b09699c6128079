package jetstream

import (
	"log/slog"
	"syscall"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// A batch is given back while what follows it comes in: a source that reads some subjects only, and so can not tell a gap from
// what it does not read, gives every message all the same.
func TestBatchIsGivenBackWhileMoreComes(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	opened, err := open(stream.SourceConfig{Name: "src", Log: slog.New(slog.DiscardHandler),
		Options: stream.Options{"url": s.URL(), "stream": "S", "subject": []string{"s.a"}}}, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, opened.Close()) })
	src := opened.(*source) //nolint:forcetypeassert // a test
	const rounds, each, size = 30, 3, 100_000
	var seen []uint64
	var before *stream.Messages
	for round := range uint64(rounds) {
		from, to := round*each, (round+1)*each
		s.Publish(each, func(i int) (string, []byte) { return "s.a", numberedPayload(from+uint64(i)+1, size) })
		for round > 0 && !src.feed.arm(to-1) {
			<-src.feed.notify
		}
		src.Recycle(before)
		in, err := src.Read(t.Context(), stream.Range{From: offset(from), To: offset(to)})
		require.NoError(t, err)
		require.Equal(t, each, in.Messages.Len())
		seen, before = append(seen, in.Messages.Sequence...), in.Messages
	}
	for i, seq := range seen {
		require.Equal(t, uint64(i+1), seq)
	}
}

// A batch that can not be spooled is nobody's, so its chunk can be filled again.
func TestUnspooledBatchIsGivenBack(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, MaxMsgsPerSubject: 10})
	s.Publish(2, func(int) (string, []byte) { return "s.a", []byte("x") })
	src := openInside(t, s, t.TempDir())
	src.cfg.FS = vfs.NewFault(vfs.OS{}, vfs.Rule{Op: vfs.OpWrite, Err: syscall.ENOSPC})
	_, err := src.Read(t.Context(), stream.Range{From: "0", To: "2"})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Empty(t, src.lent.parts)
}
