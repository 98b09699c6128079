package benchmarks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/natsconn"
)

// check is one comparison of a sink with plain DuckDB.
type check struct {
	name   string
	attach string // a DuckDB file that got reads as the catalogue out
	want   string // SELECT over the table rows
	got    string // SELECT over what the sink left behind
}

// verified says how many rows were compared.
type verified struct {
	Query string `json:"query"`
	Rows  int64  `json:"rows"`
}

// compare runs each query in plain DuckDB over the rows of a file and compares the answers, row for row, with what
// the sinks hold. It fails if any row is missing, is too many, or is there twice.
func compare(ctx context.Context, dir, rowsFile, rowColumns string, checks []check) (_ []verified, err error) {
	db, err := duck.Open(ctx, duck.Options{MemoryLimit: 4 << 30, TempDir: filepath.Join(dir, "spill")})
	if err != nil {
		return nil, fmt.Errorf("open plain DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to plain DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := conn.Exec(ctx, "CREATE TEMP VIEW rows AS "+fromJSON(rowsFile, rowColumns)); err != nil {
		return nil, fmt.Errorf("read the rows: %w", err)
	}
	var out []verified
	for _, c := range checks {
		n, err := c.run(ctx, conn)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", c.name, err)
		}
		out = append(out, verified{c.name, n})
	}
	return out, nil
}

func (c check) run(ctx context.Context, conn *duck.Conn) (int64, error) {
	if c.attach != "" {
		if _, err := conn.Exec(ctx, "ATTACH "+duck.QuoteLiteral(c.attach)+" AS out (READ_ONLY)"); err != nil {
			return 0, fmt.Errorf("open the sink's file: %w", err)
		}
		defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), "DETACH out") }() // the connection ends soon
	}
	for _, t := range []struct{ name, sql string }{{"want", c.want}, {"got", c.got}} {
		if _, err := conn.Exec(ctx, "CREATE OR REPLACE TEMP TABLE "+t.name+" AS "+t.sql); err != nil {
			return 0, fmt.Errorf("make %q: %w", t.name, err)
		}
	}
	rows, err := conn.Rows(ctx, `SELECT (SELECT count(*) FROM want), (SELECT count(*) FROM got),
		(SELECT count(*) FROM (FROM want EXCEPT ALL FROM got)), (SELECT count(*) FROM (FROM got EXCEPT ALL FROM want))`)
	if err != nil {
		return 0, fmt.Errorf("compare: %w", err)
	}
	n := make([]int64, len(rows[0]))
	for i, v := range rows[0] {
		n[i], _ = v.(int64)
	}
	if n[2] != 0 || n[3] != 0 {
		return 0, fmt.Errorf("plain DuckDB gives %d rows and the sink holds %d: %d are missing and %d are too many",
			n[0], n[1], n[2], n[3])
	}
	if n[0] == 0 {
		return 0, errors.New("there is nothing to compare: the run was too short for a result")
	}
	return n[0], nil
}

func fromJSON(path, columns string) string {
	return "FROM read_json(" + duck.QuoteLiteral(path) + ", format := 'newline_delimited', columns := " + columns + ")"
}

// dump writes the payloads of a sink's stream to a file in the order of the stream, one JSON row a line, without
// the sink's own markers.
func (c *client) dump(ctx context.Context, stream, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write what %s holds: %w", stream, err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = c.each(ctx, stream, func(m jetstream.Msg) error {
		if _, err := w.Write(m.Data()); err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		if data := m.Data(); len(data) > 0 && data[len(data)-1] != '\n' {
			return w.WriteByte('\n') //nolint:wrapcheck // wrapped below
		}
		return nil
	})
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("read what %s holds: %w", stream, err)
	}
	return nil
}

// each reads a sink's stream from its first message to the one that is the last now, without markers.
func (c *client) each(ctx context.Context, stream string, use func(jetstream.Msg) error) error {
	s, err := c.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look at the stream: %w", err)
	}
	last := s.CachedInfo().State.LastSeq
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return fmt.Errorf("create consumer: %w", err)
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(50_000, 16<<20))
	if err != nil {
		return fmt.Errorf("ask for messages: %w", err)
	}
	defer it.Stop()
	for last > 0 {
		m, err := it.Next(jetstream.NextMaxWait(30 * time.Second))
		if err != nil {
			return fmt.Errorf("next message: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("next message: %w", err)
		}
		if m.Headers().Get(natsconn.MarkerHeader) == "" {
			if err := use(m); err != nil {
				return err
			}
		}
		if meta.Sequence.Stream >= last {
			return nil
		}
	}
	return nil
}
