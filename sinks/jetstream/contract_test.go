package jetstream_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/compression"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/testkit"
	sink "github.com/tidemill/tidemill/sinks/jetstream"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

func TestContract(t *testing.T) {
	for name, tt := range map[string]struct {
		atomic      bool
		packed      int64
		compression string
		inProcess   bool
	}{
		"singles": {true, 100, "", false}, "atomic batches": {true, 1, "", false}, "plain": {false, 1, "", false},
		"compressed": {true, 100, "lz4", false}, "compressed batches": {true, 3, "zstd", false},
		"compressed plain": {false, 3, "gzip", false}, "in process": {true, 1, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Run(t, sinktest.Features{Modes: []stream.Mode{stream.Append}}, func(t *testing.T) sinktest.Place { //nolint:thelper // a factory
				srv := testkit.StartNATS(t)
				srv.CreateStream(jetstream.StreamConfig{Name: "OUT", Subjects: []string{"out", "out.>"},
					AllowAtomicPublish: tt.atomic})
				return sinktest.Place{
					Connect: func(cfg stream.SinkConfig) (stream.Sink, error) {
						cfg.Options = stream.Options{"url": srv.URL(), "stream": "OUT", "connect_timeout": patience,
							"rows_per_message": tt.packed}
						if tt.compression != "" {
							cfg.Options["compression"] = tt.compression
						}
						cfg.Stage = &stager{data: map[int64][]byte{}}
						dial := natsconn.Dial(nil)
						if tt.inProcess {
							dial = srv.Dial
						}
						return sink.Connector(dial).Open(t.Context(), cfg) //nolint:wrapcheck // a test
					},
					Rows: func() [][]any { return contractRows(t, srv, tt.compression != "") },
				}
			})
		})
	}
}

func contractRows(t *testing.T, srv *testkit.Server, compressed bool) (rows [][]any) {
	t.Helper()
	restore := compression.NewDecompressor(1 << 20)
	for _, m := range srv.Messages("OUT") {
		if m.Header.Get("Tidemill-Marker") != "" {
			continue
		}
		require.Equal(t, compressed, compression.Compressed(m.Data))
		body, err := restore.Decompress(m.Data)
		require.NoError(t, err)
		for line := range strings.Lines(string(body)) {
			var row struct {
				ID   int64
				Name *string
				N    int64
			}
			require.NoError(t, json.Unmarshal([]byte(line), &row), line)
			name := any(nil)
			if row.Name != nil {
				name = *row.Name
			}
			rows = append(rows, []any{row.ID, name, row.N})
		}
	}
	return rows
}
