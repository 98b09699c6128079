package engine_test

import (
	"fmt"
	"strings"
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

// TestLoopsAreSeenByWhatTheServerSays opens queries of whose texts nobody can tell whether they read their own output.
// alias is another address of the same server; elsewhere is another server with a stream of the same name.
func TestLoopsAreSeenByWhatTheServerSays(t *testing.T) {
	srv, other := testkit.StartNATS(t), testkit.StartNATS(t)
	for _, s := range []*testkit.Server{srv, other} {
		s.CreateStream(natsjs.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, AllowAtomicPublish: true})
		s.CreateStream(natsjs.StreamConfig{Name: "BIG", Subjects: []string{"big.>"}, AllowAtomicPublish: true})
	}
	at := strings.NewReplacer("$srv", srv.URL(), "$alias", testkit.StartProxy(t, srv.URL()).URL, "$elsewhere", other.URL())
	for name, c := range map[string]struct {
		source, sink string // options of each
		loop         string // what the refusal says, or ""
	}{
		"a source without subject, a sink without stream": {"url = '$srv', stream = 'ORDERS'",
			"url = '$srv', subject = 'orders.out'", `sink "out" writes into what source "src" reads`},
		"two addresses of one server": {"url = '$srv', stream = 'ORDERS', subject = 'orders.>'",
			"url = '$alias', stream = 'ORDERS', subject = 'orders.out'", `sink "out" writes into what source "src" reads`},
		"a column in the subject": {"url = '$srv', stream = 'ORDERS', subject = 'orders.a.in'",
			"url = '$alias', subject = 'orders.{k}.in'", `sink "out" writes into what source "src" reads`},
		"dead letters into the whole stream": {"url = '$srv', stream = 'ORDERS', dead_letter_subject = 'orders.dead'",
			"url = '$srv', stream = 'BIG', subject = 'big.out'", `source "src" would read its own dead letters`},
		"another stream": {"url = '$srv', stream = 'ORDERS', dead_letter_subject = 'big.dead'",
			"url = '$srv', subject = 'big.out'", ""},
		"other subjects of the stream": {"url = '$srv', stream = 'ORDERS', subject = 'orders.in.>'",
			"url = '$alias', subject = 'orders.out.{k}'", ""},
		"a stream of that name elsewhere": {"url = '$srv', stream = 'ORDERS'", "url = '$elsewhere', subject = 'orders.out'", ""},
		"a stream that is not there yet":  {"url = '$srv', stream = 'ORDERS'", "url = '$alias', stream = 'NEW'", ""},
	} {
		t.Run(name, func(t *testing.T) {
			sql := at.Replace(fmt.Sprintf(`CREATE SOURCE src (k VARCHAR) WITH (connector = 'jetstream', %s);
				CREATE SINK out WITH (connector = 'jetstream', %s);
				CREATE QUERY q INTO out TRIGGER AVAILABLE NOW AS SELECT k FROM src;`, c.source, c.sink))
			err := runOnce(t, sql)
			if c.loop == "" {
				require.NoError(t, err)
				return
			}
			require.Equal(t, diag.SinkLoop, diag.CodeOf(err), "%v", err)
			require.Contains(t, diag.Render(err), c.loop)
			require.Contains(t, diag.Render(err), `the server says that both are stream "ORDERS"`)
			require.Contains(t, diag.Render(err), "app.sql:")
		})
	}
}

// runOnce runs all queries of a text in a data dir of their own.
func runOnce(t *testing.T, sql string) error {
	t.Helper()
	reg := stream.Registry{Sources: sources.Default(sourcemem.NewHub(), nil), Sinks: sinks.Default(sinks.Deps{})}
	app, err := engine.Parse(t.Context(), reg, "app.sql", sql)
	require.NoError(t, err)
	return engine.Run(t.Context(), engine.Options{DataDir: t.TempDir(), Registry: reg, Parse: engine.Parser(reg)}, app, nil, nil)
}

// TestQueriesMayFeedOneAnother chains three queries over streams, and lets one read the letters of another.
func TestQueriesMayFeedOneAnother(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(natsjs.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, AllowAtomicPublish: true})
	srv.CreateStream(natsjs.StreamConfig{Name: "BIG", Subjects: []string{"big.>"}, AllowAtomicPublish: true})
	with := "WITH (connector = 'jetstream', url = '" + srv.URL() + "', "
	require.NoError(t, runOnce(t, `
		CREATE SOURCE orders (k VARCHAR) `+with+`stream = 'ORDERS', dead_letter_subject = 'big.dead');
		CREATE SOURCE big (k VARCHAR) `+with+`stream = 'BIG');
		CREATE SINK to_big `+with+`subject = 'big.out');
		CREATE SINK to_orders `+with+`subject = 'orders.again');
		CREATE QUERY feed INTO to_big TRIGGER AVAILABLE NOW AS SELECT k FROM orders;
		CREATE QUERY back INTO to_orders TRIGGER AVAILABLE NOW AS SELECT k FROM big;`))
	err := runOnce(t, `
		CREATE SOURCE orders (k VARCHAR) `+with+`stream = 'ORDERS', dead_letter_subject = 'big.dead');
		CREATE SOURCE big (k VARCHAR) `+with+`stream = 'BIG');
		CREATE SINK out `+with+`stream = 'OUT');
		CREATE QUERY all_of_it INTO out TRIGGER AVAILABLE NOW AS SELECT k FROM orders UNION ALL SELECT k FROM big;`)
	require.Equal(t, diag.SinkLoop, diag.CodeOf(err), "%v", err)
	require.Contains(t, diag.Render(err), `source "big" would read the dead letters of source "orders", which go to subject "big.dead"`)
}
