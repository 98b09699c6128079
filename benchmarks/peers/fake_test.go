package peers

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/internal/duck"
)

// fakeCommand makes this binary a contender; what it does stands behind it.
const fakeCommand = "fake-contender"

// TestMain lets this binary be the contenders that the tests start.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == DuckDBCommand:
		err = RunDuckDB(context.Background(), os.Stdin, os.Stdout)
	case len(os.Args) == 3 && os.Args[1] == fakeCommand:
		err = runFake(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fake is a contender that behaves as its kind says: good, wrong, twice, refuses, dies, hangs, stays or follows.
type fake struct{ kind, self string }

func (f fake) name() string { return f.kind }

func (fake) takes(*workload) bool { return true }

func (f fake) batches() bool { return f.kind == "good" }

func (fake) guarantee(*workload) string { return "none" }

func (f fake) command(w *workload, j job) (command, error) {
	seen := *w
	seen.tables = append([]table(nil), w.tables...)
	seen.tables[0].staged = "" // it sees what has arrived
	body := map[string]string{"wrong": "FROM (" + w.body + ") LIMIT 10", "twice": w.body + " UNION ALL " + w.body}[f.kind]
	j.SQL = seen.views() + ";\nCOPY (" + cmp.Or(body, w.body) + ") TO " + duck.QuoteLiteral(j.Out) +
		" (FORMAT parquet, PER_THREAD_OUTPUT true)"
	return command{path: f.self, args: []string{fakeCommand, f.kind}, input: j}, nil
}

func (fake) got(_ *workload, j job) string { return parquetOf(j.Out) }

// runFake is the process of a fake.
func runFake(kind string) error {
	in := bufio.NewReader(os.Stdin)
	text, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	fmt.Println(`{"event":"ready","version":"1.2"}`)
	switch kind {
	case "refuses":
		fmt.Println(`{"event":"refused","code":"NO_WAY","message":"this is not for me"}`)
		return nil
	case "dies":
		return fmt.Errorf("out of luck")
	case "hangs":
		select {}
	}
	fmt.Println(`{"batchId":7,"timestamp":"2026-01-01T00:00:00.000Z","batchDuration":5,"numInputRows":900}`)
	if kind == "follows" {
		if err := idle(j); err != nil {
			return err
		}
	}
	fmt.Println(`{"event":"start"}`)
	if kind == "follows" {
		if err := follow(j, in); err != nil {
			return err
		}
	} else {
		fmt.Println(`{"batchId":0,"timestamp":"2026-01-01T00:00:00.000Z","batchDuration":500,"numInputRows":1500}`)
		fmt.Println("a line of a log")
		fmt.Println(`{"batchId":1,"timestamp":"2026-01-01T00:00:01.500Z","batchDuration":500.5,"numInputRows":500}`)
		fmt.Println(`{"batchId":2,"timestamp":"2026-01-01T00:00:02.000Z","batchDuration":2,"numInputRows":0}`)
	}
	p, err := benchmarks.OpenPlain(context.Background(), j.Scratch)
	if err != nil {
		return err
	}
	if err := p.Exec(context.Background(), j.SQL); err != nil {
		return err
	}
	fmt.Println(`{"event":"done"}`)
	if kind == "stays" {
		select {}
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// idle asks that nothing but the first file arrives while the contender has not begun.
func idle(j job) error {
	time.Sleep(3 * fileEvery)
	files, err := filepath.Glob(filepath.Join(j.Tables["rows"], "*.parquet"))
	if len(files) != 1 {
		return fmt.Errorf("%d files have arrived before the start: %w", len(files), err)
	}
	return nil
}

// follow commits a batch of each file that appears, 20 rows each, until standard input ends.
func follow(j job, in io.Reader) error {
	end := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, in); close(end) }()
	for n, done := 0, 0; ; {
		files, err := filepath.Glob(filepath.Join(j.Tables["rows"], "*.parquet"))
		if err != nil {
			return err
		}
		if len(files) > done {
			fmt.Printf(`{"batchId":%d,"timestamp":%q,"batchDuration":2,"numInputRows":%d}`+"\n", n,
				time.Now().Format(time.RFC3339Nano), 20*(len(files)-done))
			n, done = n+1, len(files)
		}
		select {
		case <-end:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}
