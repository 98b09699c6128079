package engine_test

import (
	"context"
	"encoding/json"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/sinks"
	"github.com/tidemill/tidemill/sources"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// TestDeadLettersReachTheirSubjectOnce stops the engine after the dead letters were published and before the batch was
// committed: the next life publishes nothing twice.
func TestDeadLettersReachTheirSubjectOnce(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(natsjs.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	js := srv.JetStream()
	for _, payload := range []string{`{"id": 1}`, `{"id": "one"}`, `not json`, `{"id": 2}`} {
		_, err := js.Publish(t.Context(), "orders.eu", []byte(payload))
		require.NoError(t, err)
	}
	reg := stream.Registry{Sources: sources.Default(sourcemem.NewHub(), nil), Sinks: sinks.Default(sinks.Deps{})}
	sql := `CREATE SOURCE orders (id BIGINT) WITH (connector = 'jetstream', url = '` + srv.URL() + `', stream = 'ORDERS',
	          subject = 'orders.>', dead_letter_subject = 'broken.orders');
	        CREATE SINK out WITH (connector = 'jetstream', url = '` + srv.URL() + `', stream = 'OUT');
	        CREATE QUERY q INTO out TRIGGER AVAILABLE NOW AS SELECT id FROM orders;`
	srv.CreateStream(natsjs.StreamConfig{Name: "BROKEN", Subjects: []string{"broken.>"}, AllowAtomicPublish: true})
	app, err := engine.Parse(t.Context(), reg, "app.sql", sql)
	require.NoError(t, err)
	opt := engine.Options{DataDir: t.TempDir(), Registry: reg, Parse: engine.Parser(reg)}

	died := context.DeadlineExceeded
	opt.Hook = func(point string) error {
		if point == engine.AfterSink {
			return died
		}
		return nil
	}
	q, err := engine.Open(t.Context(), opt, app, "q")
	require.NoError(t, err)
	require.ErrorIs(t, q.Idle(t.Context()), died)
	require.NoError(t, q.Abandon())

	opt.Hook = nil
	require.NoError(t, engine.Run(t.Context(), opt, app, nil, nil))
	require.Equal(t, []string{"one", "not json"}, payloads(t, srv))
}

// payloads are those of the dead letters on the subject, shortened to what tells them apart.
func payloads(t *testing.T, srv *testkit.Server) []string {
	t.Helper()
	var got []string
	stream, err := srv.JetStream().Stream(t.Context(), "BROKEN")
	require.NoError(t, err)
	info, err := stream.Info(t.Context())
	require.NoError(t, err)
	for seq := uint64(1); seq <= info.State.LastSeq; seq++ {
		msg, err := stream.GetMsg(t.Context(), seq)
		if err != nil || msg.Subject != "broken.orders" {
			continue
		}
		var letter struct {
			Payload, Reason string
			Sequence        uint64
		}
		require.NoError(t, json.Unmarshal(msg.Data, &letter), string(msg.Data))
		require.NotEmpty(t, letter.Reason)
		switch letter.Sequence {
		case 2:
			require.JSONEq(t, `{"id": "one"}`, letter.Payload)
			got = append(got, "one")
		default:
			got = append(got, letter.Payload)
		}
	}
	return got
}

func TestASourceMayNotReadItsOwnDeadLetters(t *testing.T) {
	reg := stream.Registry{Sources: sources.Default(sourcemem.NewHub(), nil), Sinks: sinks.Default(sinks.Deps{})}
	app, err := engine.Parse(t.Context(), reg, "app.sql", `
		CREATE SOURCE orders (id BIGINT) WITH (connector = 'jetstream', stream = 'ORDERS', subject = 'orders.>',
		  dead_letter_subject = 'orders.broken');
		CREATE SINK out WITH (connector = 'console');
		CREATE QUERY q INTO out AS SELECT id FROM orders;`)
	require.NoError(t, err)
	_, err = engine.Open(t.Context(), engine.Options{DataDir: t.TempDir(), Registry: reg}, app, "q")
	require.Equal(t, diag.SinkLoop, diag.CodeOf(err))
}
