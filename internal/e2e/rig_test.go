package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/sqlfront"
)

// patience is how long the tests wait for what must come, on a machine that has other things to do.
const patience = 3 * time.Minute

// binary is the variable that tells the tests where TestMain has built the program.
const binary = "TIDEMILL_E2E_BINARY"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tidemill-e2e-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		bin := filepath.Join(dir, "tidemill")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", bin, "../../cmd/tidemill").CombinedOutput(); err != nil {
			err = fmt.Errorf("build the program: %w\n%s", err, out)
		} else {
			err = os.Setenv(binary, bin)
		}
	}
	code := 1
	if err == nil {
		if code = m.Run(); code == 0 {
			err = goleak.Find()
		}
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

const app = `
CREATE SOURCE orders (id BIGINT, k VARCHAR, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'jetstream', url = '%[1]s', stream = 'ORDERS', subject = 'orders.>', max_rows_per_batch = 50);
CREATE SINK totals WITH (connector = 'jetstream', url = '%[1]s', stream = 'TOTALS', subject = 'totals.{k}');
CREATE SINK files WITH (connector = 'parquet', path = '%[2]s');
CREATE QUERY to_stream INTO totals OUTPUT MODE APPEND WITH (checkpoint_interval = '300 ms', late = 'dead_letter') AS
  SELECT window_start, k, count(*) AS n, sum(v) AS s
  FROM tumble(orders, ts, INTERVAL '2 seconds') GROUP BY window_start, k;
CREATE QUERY to_files INTO files OUTPUT MODE APPEND WITH (checkpoint_interval = '300 ms', late = 'dead_letter') AS
  SELECT window_start, k, count(*) AS n, sum(v) AS s
  FROM tumble(orders, ts, INTERVAL '2 seconds') GROUP BY window_start, k;
`

// rig is a server, a program, and the directories they live in.
type rig struct {
	t      *testing.T
	server *testkit.Server
	dir    string
	bin    string
	rnd    *rand.Rand
	early  int // batches that were computed while the one before was delivered
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), server: testkit.StartNATS(t), bin: os.Getenv(binary)}
	r.server.CreateStream(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	sql := fmt.Sprintf(app, r.server.URL(), r.path("out"))
	require.NoError(t, os.WriteFile(r.path("app.sql"), []byte(sql), 0o600))
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("TIDEMILL_E2E_SEED"); text != "" {
		_, err := fmt.Sscan(text, &seed)
		require.NoError(t, err)
	}
	t.Logf("TIDEMILL_E2E_SEED=%d repeats the moments of this run", seed)
	r.rnd = rand.New(rand.NewPCG(seed, 1))
	return r
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

// child is one life of the program.
type child struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan error
}

// start runs the program over the app.
func (r *rig) start(args ...string) *child {
	r.t.Helper()
	c := &child{ended: make(chan error, 1)}
	c.cmd = exec.Command(r.bin, append([]string{"run", r.path("app.sql"), "--data-dir", r.path("data"),
		"--listen", "off", "--progress", "off", "--memory-limit", "1 GiB", "--threads", "1", "--log-level", "debug"}, args...)...)
	c.cmd.Stderr = &c.stderr
	require.NoError(r.t, c.cmd.Start())
	go func() { c.ended <- c.cmd.Wait() }() // ends with the process, which every test waits for
	return c
}

// wait returns how the program ended. If it does not, it is killed.
func (c *child) wait() error {
	select {
	case err := <-c.ended:
		return err
	case <-time.After(patience):
		return errors.Join(errors.New("the program did not end"), c.cmd.Process.Kill(), <-c.ended)
	}
}

// kill kills the program after a while. It must still run then.
func (r *rig) kill(c *child, after time.Duration) {
	r.t.Helper()
	select {
	case err := <-c.ended:
		r.t.Fatalf("the program ended by itself: %v\n%s", err, c.stderr.String())
	case <-time.After(after):
	}
	require.NoError(r.t, c.cmd.Process.Kill())
	<-c.ended
	r.early += c.early()
}

// early counts the batches that a program which has ended computed while the one before was delivered.
func (c *child) early() int { return strings.Count(c.stderr.String(), "batch computed early") }

// between is a random while.
func (r *rig) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rnd.Int64N(int64(most-least)))
}

// drain runs the program once over what is there and waits for its end.
func (r *rig) drain() {
	r.t.Helper()
	c := r.start("--available-now")
	require.NoError(r.t, c.wait(), "%s", c.stderr.String())
	r.early += c.early()
}

// rowsLeast is how many rows make enough windows to mean something, however slow the machine is.
const rowsLeast = 5000

// produce publishes rows until the returned function is called, and rowsLeast at least: times up to 2 seconds in disorder,
// and one row in a hundred far behind. A publish without an answer is tried again, so that a row may be there twice: the
// stream says what is there.
func (r *rig) produce() (stop func()) {
	js := r.server.JetStream()
	ctx, cancel := context.WithCancel(r.t.Context())
	rnd := rand.New(rand.NewPCG(r.rnd.Uint64(), 2))
	var wg sync.WaitGroup
	var published atomic.Int64
	wg.Go(func() {
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for id := 0; ; {
			for range 20 {
				at := start.Add(time.Duration(id)*5*time.Millisecond - time.Duration(rnd.Int64N(int64(2*time.Second))))
				if rnd.IntN(100) == 0 {
					at = at.Add(-30 * time.Second)
				}
				k := string(rune('a' + rnd.IntN(4)))
				row := fmt.Sprintf(`{"id":%d,"k":"%s","v":%d,"ts":"%s"}`, id, k, rnd.IntN(1000),
					at.Format("2006-01-02T15:04:05.000"))
				for {
					once, done := context.WithTimeout(ctx, 500*time.Millisecond)
					_, err := js.Publish(once, "orders."+k, []byte(row))
					done()
					if ctx.Err() != nil {
						return
					}
					if err == nil {
						break
					}
				}
				id++
				published.Add(1)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		enough := func() bool { return published.Load() >= rowsLeast }
		require.Eventually(r.t, enough, patience, 10*time.Millisecond)
		cancel()
		wg.Wait()
	}
}

// dump writes the payloads of a stream to a file, one per line, without the sink's markers, and returns how many.
func (r *rig) dump(stream, file string) int {
	r.t.Helper()
	var text bytes.Buffer
	s, err := r.server.JetStream().Stream(r.t.Context(), stream)
	require.NoError(r.t, err)
	info, err := s.Info(r.t.Context())
	require.NoError(r.t, err)
	c, err := s.OrderedConsumer(r.t.Context(), jetstream.OrderedConsumerConfig{})
	require.NoError(r.t, err)
	n := 0
	for last := uint64(0); last < info.State.LastSeq; {
		msgs, err := c.Fetch(5000, jetstream.FetchMaxWait(2*time.Second))
		require.NoError(r.t, err)
		for m := range msgs.Messages() {
			meta, err := m.Metadata()
			require.NoError(r.t, err)
			last = meta.Sequence.Stream
			if m.Headers().Get("Tidemill-Marker") != "" {
				continue
			}
			text.Write(m.Data())
			text.WriteByte('\n')
			n++
		}
		require.NoError(r.t, msgs.Error())
	}
	require.NoError(r.t, os.WriteFile(file, text.Bytes(), 0o600))
	return n
}

// late returns the stream sequences of the rows that a query dropped as late.
func (r *rig) late(query string) []string {
	r.t.Helper()
	dir := filepath.Join(r.path("data"), query, "dead_letters")
	files, err := letters.List(vfs.OS{}, dir)
	require.NoError(r.t, err)
	list := []string{"0"}
	for _, f := range files {
		ls, err := letters.Read(vfs.OS{}, dir, f.Batch)
		require.NoError(r.t, err)
		for _, l := range ls {
			require.Equal(r.t, letters.Late, l.Kind, "%s: %s", l.Reason, l.Payload)
			list = append(list, fmt.Sprint(l.Sequence))
		}
	}
	return list
}

// verify compares both sinks with plain DuckDB over the rows of the stream: windows that the final watermark has
// closed, without the rows that the query says were late, each exactly once.
func (r *rig) verify() {
	r.t.Helper()
	rows := r.dump("ORDERS", r.path("orders.ndjson"))
	require.Positive(r.t, r.dump("TOTALS", r.path("totals.ndjson")))
	db, err := duck.Open(r.t.Context(), duck.Options{})
	require.NoError(r.t, err)
	defer func() { require.NoError(r.t, db.Close()) }()
	conn, err := db.Conn(r.t.Context())
	require.NoError(r.t, err)
	defer func() { require.NoError(r.t, conn.Close()) }()
	run := func(sql string) [][]any {
		r.t.Helper()
		got, err := conn.Rows(r.t.Context(), sql)
		require.NoError(r.t, err, sql)
		return got
	}
	_, err = conn.Exec(r.t.Context(), sqlfront.Prelude())
	require.NoError(r.t, err)
	run("CREATE TABLE all_orders AS SELECT *, row_number() OVER () AS seq FROM read_json('" + r.path("orders.ndjson") +
		"', format = 'newline_delimited', columns = {id: 'BIGINT', k: 'VARCHAR', v: 'BIGINT', ts: 'TIMESTAMP'})")
	require.EqualValues(r.t, rows, run("SELECT count(*) FROM all_orders")[0][0])
	for query, sink := range map[string]string{
		"to_stream": "SELECT window_start::TIMESTAMP, k, n::BIGINT, s::BIGINT FROM read_json('" + r.path("totals.ndjson") +
			"', format = 'newline_delimited', columns = {window_start: 'VARCHAR', k: 'VARCHAR', n: 'BIGINT', s: 'BIGINT'})",
		"to_files": "SELECT window_start, k, n::BIGINT, s::BIGINT FROM read_parquet('" + r.path("out") + "/*.parquet')",
	} {
		late := r.late(query)
		run("CREATE OR REPLACE TABLE orders AS SELECT * FROM all_orders WHERE seq NOT IN (" + strings.Join(late, ",") + ")")
		run("CREATE OR REPLACE TABLE expected AS SELECT window_start, k, count(*) AS n, sum(v)::BIGINT AS s " +
			"FROM tumble(orders, ts, INTERVAL '2 seconds') WHERE window_end <= " +
			"(SELECT max(ts) - INTERVAL '5 seconds' FROM all_orders) GROUP BY window_start, k")
		run("CREATE OR REPLACE TABLE sink AS " + sink)
		count := run("SELECT count(*) FROM expected")[0][0]
		require.Greater(r.t, count, int64(20), "enough windows to mean something")
		require.Empty(r.t, run("FROM expected EXCEPT ALL FROM sink"), "%s: missing from the sink", query)
		require.Empty(r.t, run("FROM sink EXCEPT ALL FROM expected"), "%s: too much in the sink", query)
		r.t.Logf("%s: %d rows in, %d of them late, %v rows out", query, rows, len(late)-1, count)
	}
}
