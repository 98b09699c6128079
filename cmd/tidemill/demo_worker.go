package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/engine"
)

// worker is a process of `tidemill run`.
type worker struct {
	cmd    *exec.Cmd
	stderr *strings.Builder
	done   chan struct{} // closed when its output has ended

	mu   sync.Mutex
	last map[string]engine.Progress // guarded by mu: by query
}

// startWorker starts a worker. It is killed when ctx ends before it does.
func (d *demo) startWorker(ctx context.Context, more ...string) (*worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	args := append([]string{"run", d.sql, "--data-dir", d.data(), "--listen", "off", "--progress", "jsonl"}, more...)
	w := &worker{cmd: exec.CommandContext(context.WithoutCancel(ctx), self, args...), //nolint:gosec // ourselves
		stderr: &strings.Builder{}, done: make(chan struct{}), last: map[string]engine.Progress{}}
	w.cmd.Args[0] = "tidemill"
	w.cmd.Env = append(os.Environ(), "NATS_URL="+d.url, "DEMO_DIR="+d.dir)
	w.cmd.Stderr = w.stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open the worker's output: %w", err)
	}
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the worker: %w", err)
	}
	go w.read(out) // ends with the process's output
	return w, nil
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

// read follows the worker's progress lines.
func (w *worker) read(out io.Reader) {
	defer close(w.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p engine.Progress
		if json.Unmarshal(lines.Bytes(), &p) == nil {
			w.mu.Lock()
			w.last[p.Name] = p
			w.mu.Unlock()
		}
	}
}

// watch says once a second what the queries do, until ctx ends. It fails if the worker ends before.
func (w *worker) watch(ctx context.Context, d *demo) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.done:
			return fmt.Errorf("the worker ended by itself: %w\n%s", w.cmd.Wait(), w.stderr)
		case <-tick.C:
			d.say("%s", w.line())
		}
	}
}

// line is a one-line picture of all queries.
func (w *worker) line() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := make([]string, 0, len(w.last))
	for name := range w.last {
		names = append(names, name)
	}
	slices.Sort(names)
	parts := make([]string, len(names))
	for i, name := range names {
		p := w.last[name]
		parts[i] = fmt.Sprintf("%s batch %d: %s in, %s out", name, p.BatchID, count(p.Totals.In), count(p.Totals.Out))
	}
	if len(parts) == 0 {
		return "  the worker starts"
	}
	return "  " + strings.Join(parts, " | ")
}

// kill ends the worker with SIGKILL, which it can not notice.
func (w *worker) kill() error {
	if err := w.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the worker: %w", err)
	}
	<-w.done
	_ = w.cmd.Wait() // it says that it was killed
	return nil
}

// interrupt asks the worker to drain and waits for it.
func (w *worker) interrupt() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the worker: %w", err)
	}
	return w.wait()
}

func (w *worker) wait() error {
	<-w.done
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("the worker failed: %w\n%s", err, w.stderr)
	}
	return nil
}

// quantile returns the q-quantile of values by the nearest rank, or 0.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[max(0, rank)]
}
