package jetstream

import (
	"context"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// kept is a stream.Stager in memory, of one batch.
type kept struct{ data []byte }

func (k *kept) Stage(_ context.Context, _ int64, _ string, data []byte) error {
	k.data = data
	return nil
}
func (k *kept) Staged(context.Context, int64, string) ([]byte, error) { return k.data, nil }

// TestLateStepOfAnotherCut lets the first attempt at a batch, one step of a server that took many messages, be seen only after
// a second one has begun, which needs several steps by now. Nothing is stored twice.
func TestLateStepOfAnotherCut(t *testing.T) {
	srv := testkit.StartNATS(t, func(o *natsd.Options) { o.Batch = 5000 })
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}}, nil)
	made, err := Connector(nil).Open(t.Context(), stream.SinkConfig{Name: "out", Schema: schema, Stage: &kept{},
		Options: stream.Options{"url": srv.URL(), "stream": "OUT", "payload": "json", "connect_timeout": 30 * time.Second}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, made.Close()) })
	require.NoError(t, made.Open(t.Context(), stream.Owner{Query: "q", Name: "q", Epoch: 1}))
	s, ok := made.(*sink)
	require.True(t, ok)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	const rows = 3000
	for i := range int64(rows) {
		b.Field(0).(*array.Int64Builder).Append(i) //nolint:forcetypeassert // a test
	}
	rec := b.NewRecord()
	defer rec.Release()
	d := stream.Delivery{Marker: stream.Marker{Query: "q", Epoch: 1, IntentCRC: 7}, Result: stream.Batch{Schema: schema, Records: []arrow.Record{rec}}}
	stored, seq, chain := s.stored, s.seq, s.chain
	require.NoError(t, s.Write(t.Context(), d))
	info, err := s.client.StreamInfo(t.Context(), "OUT", false)
	require.NoError(t, err)
	s.stored, s.seq, s.chain, s.batch = stored, seq, chain, batchMessages
	err = s.Write(t.Context(), d)
	require.True(t, diag.Temporary(err), "%v", err)
	require.NoError(t, s.Write(t.Context(), d))
	again, err := s.client.StreamInfo(t.Context(), "OUT", false)
	require.NoError(t, err)
	require.Equal(t, info.State.LastSeq, again.State.LastSeq)
}
