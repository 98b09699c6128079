package engine_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/compression"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/sources"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// TestCompressedMessages runs a query from plain, compressed and damaged messages into compressed ones, and another one from
// those into plain ones. Letters have the lines of rows, whatever they came in, and a message that is damaged as it came.
func TestCompressedMessages(t *testing.T) {
	srv := testkit.StartNATS(t)
	srv.CreateStream(natsjs.StreamConfig{Name: "IN", Subjects: []string{"in"}})
	var sent []string
	send := func(algorithm string, cut int, rows ...string) {
		body := []byte(strings.Join(rows, "\n"))
		if algorithm != "" {
			c, err := compression.NewCompressor(algorithm)
			require.NoError(t, err)
			body, err = c.Compress(body)
			require.NoError(t, err)
		}
		body = body[:len(body)-cut]
		_, err := srv.JetStream().Publish(t.Context(), "in", body)
		require.NoError(t, err)
		sent = append(sent, string(body))
	}
	row := func(id, second int) string { return fmt.Sprintf(`{"id":%d,"ts":"2026-01-01T00:00:%02d"}`, id, second) }
	send("lz4", 0, row(1, 1), row(2, 2))
	send("", 0, row(3, 3))
	send("zstd", 0, row(4, 50), `{"id":"five"}`)
	send("gzip", 2, row(6, 51))
	for range 4 { // the second batch
		send("lz4", 0, row(0, 52))
	}
	send("lz4", 0, row(7, 4), row(8, 52)) // 7 is late
	send("zstd", 0, row(9, 5))            // late too, alone in its message
	send("", 0, row(10, 6), row(11, 53))

	reg := stream.Registry{Sources: sources.Default(sourcemem.NewHub(), nil), Sinks: sinks.Default(sinks.Deps{})}
	sql := strings.ReplaceAll(`
CREATE SOURCE events (id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 second')
  WITH (connector = 'jetstream', URL, stream = 'IN', format = 'ndjson', compression = 'auto', max_rows_per_batch = 4);
CREATE SINK packed WITH (connector = 'jetstream', URL, stream = 'PACKED', compression = 'lz4');
CREATE QUERY first INTO packed OUTPUT MODE APPEND TRIGGER AVAILABLE NOW WITH (late = 'dead_letter') AS
  SELECT window_start, count(*) AS n, sum(id)::BIGINT AS ids FROM tumble(events, ts, INTERVAL '10 seconds') GROUP BY ALL;`,
		"URL", "url = '"+srv.URL()+"'")
	data := t.TempDir()
	run := func(sql string) {
		t.Helper()
		app, err := engine.Parse(t.Context(), reg, "app.sql", sql)
		require.NoError(t, err)
		require.NoError(t, engine.Run(t.Context(), engine.Options{DataDir: data, Registry: reg, Parse: engine.Parser(reg)}, app, nil, nil))
	}
	run(sql)
	run(strings.ReplaceAll(`
CREATE SOURCE counts (n BIGINT, ids BIGINT) WITH (connector = 'jetstream', URL, stream = 'PACKED', format = 'ndjson', compression = 'auto');
CREATE SINK lines WITH (connector = 'jetstream', URL, stream = 'LINES');
CREATE QUERY second INTO lines TRIGGER AVAILABLE NOW AS SELECT n, ids FROM counts;`, "URL", "url = '"+srv.URL()+"'"))

	for _, m := range srv.Messages("PACKED") {
		require.True(t, compression.Compressed(m.Data) || m.Header.Get("Tidemill-Marker") != "" || len(m.Data) == 0)
	}
	var lines []string
	for _, m := range srv.Messages("LINES") {
		if m.Header.Get("Tidemill-Marker") == "" {
			lines = append(lines, strings.Fields(string(m.Data))...)
		}
	}
	require.Equal(t, []string{`{"n":3,"ids":6}`}, lines)
	require.Equal(t, map[string]string{
		"3/1 dead": `{"id":"five"}`, "4/-1 dead": sent[3], "9/0 late": row(7, 4), "10/0 late": row(9, 5), "11/0 late": row(10, 6),
	}, lettersOf(t, filepath.Join(data, "first")))
}

// lettersOf returns the payloads of a query's letters, by sequence, index and kind.
func lettersOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	dir = filepath.Join(dir, "dead_letters")
	files, err := letters.List(vfs.OS{}, dir)
	require.NoError(t, err)
	all := map[string]string{}
	for _, f := range files {
		ls, err := letters.Read(vfs.OS{}, dir, f.Batch)
		require.NoError(t, err)
		for _, l := range ls {
			all[fmt.Sprintf("%d/%d %s", l.Sequence, l.Index, l.Kind)] = string(l.Payload)
		}
	}
	return all
}
