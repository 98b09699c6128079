package jetstream

import (
	"fmt"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// TestWindowStopsAtAStranger lets another owner's marker take the place of one message of a window that is on its way.
// None that follows it may be stored: the new owner goes on behind the last one, and would leave the lost one out.
func TestWindowStopsAtAStranger(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out", "out.>"}})
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	made, err := Connector(nil).Open(t.Context(), stream.SinkConfig{Name: "out", Schema: schema,
		Options: stream.Options{"url": srv.URL(), "stream": "OUT", "payload": "json", "connect_timeout": 30 * time.Second, "rows_per_message": int64(1)}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, made.Close()) })
	require.NoError(t, made.Open(t.Context(), stream.Owner{Query: "q", Name: "q", Epoch: 1}))
	s, ok := made.(*sink)
	require.True(t, ok)
	info, err := s.client.StreamInfo(t.Context(), "OUT", false)
	require.NoError(t, err)
	at := place{last: info.State.LastSeq}
	conn, err := nats.Connect(srv.URL())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	_, err = conn.Request("out.stranger", []byte("x"), 30*time.Second)
	require.NoError(t, err)
	var window []message
	for i := range 5 {
		window = append(window, message{subject: "out", body: fmt.Appendf(nil, `{"id":%d}`, i)})
	}
	n, err := s.sendWindow(t.Context(), marker{Marker: stream.Marker{Query: "q", Epoch: 1, Batch: 1}}, window, at)
	require.ErrorIs(t, err, errBroken)
	require.Zero(t, n)
	info, err = s.client.StreamInfo(t.Context(), "OUT", false)
	require.NoError(t, err)
	require.Equal(t, at.last+1, info.State.LastSeq, "nothing was stored behind the stranger")
}
