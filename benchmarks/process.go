package benchmarks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/natsd"
)

// BrokerCommand is the hidden command of the binary that Broker serves.
const BrokerCommand = "bench-broker"

// Broker runs a NATS server until in ends, and writes its URL to out first. It is what the broker's process
// does: tying its life to a pipe means that it can not outlive the driver.
func Broker(o natsd.Options, in io.Reader, out io.Writer) error {
	server, err := natsd.Start(o)
	if err != nil {
		return fmt.Errorf("start the broker: %w", err)
	}
	defer server.Stop()
	if _, err := fmt.Fprintln(out, server.URL()); err != nil {
		return fmt.Errorf("say where the broker is: %w", err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return fmt.Errorf("wait for the driver's end: %w", err)
	}
	return nil
}

// broker is a running broker process.
type broker struct {
	cmd *exec.Cmd
	in  io.Closer
	url string
}

func startBroker(ctx context.Context, o Options, dir string) (*broker, error) {
	args := []string{BrokerCommand, "--dir", dir, "--batch", strconv.Itoa(o.AtomicBatch)}
	if o.SyncAlways {
		args = append(args, "--sync-always")
	}
	cmd := exec.CommandContext(ctx, o.Binary, args...) //nolint:gosec // ourselves
	cmd.Stderr = o.Log
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("open the broker's input: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open the broker's output: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	b := &broker{cmd: cmd, in: in, url: strings.TrimSpace(line)}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the broker: %w", err), b.stop())
	}
	return b, nil
}

// cpu is the CPU time that the broker has used; no broker uses none.
func (b *broker) cpu() float64 {
	if b == nil {
		return 0
	}
	return cpuSeconds(b.cmd.Process.Pid)
}

// stop ends the broker and waits for it.
func (b *broker) stop() error {
	if err := b.in.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("stop the broker: %w", err)
	}
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("stop the broker: %w", err)
	}
	return nil
}

// quietMax is longer than any batch of a suite takes. Without a bound a run would wait for ever for rows that were lost.
const quietMax = 5 * time.Minute

// worker is a running `tidemill run`.
type worker struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	ended  chan struct{} // closed when its output has ended
	peak   int64         // see peakBytes
	quiet  time.Duration // for which it may commit no batch while one waits for it

	mu      sync.Mutex
	batches []engine.Progress // guarded by mu
}

// startWorker runs the queries of file over the broker at url, or with none. It is killed when ctx ends.
func startWorker(ctx context.Context, o Options, url, dir, file string, more ...string) (*worker, error) {
	args := []string{"run", file, "--data-dir", filepath.Join(dir, "data"), "--listen", "off", "--progress", "jsonl"}
	args = append(args, more...)
	w := &worker{cmd: exec.CommandContext(ctx, o.Binary, args...), ended: make(chan struct{}), //nolint:gosec // ourselves
		quiet: quietMax}
	w.cmd.Env = workerEnv(os.Environ(), url, dir)
	w.cmd.Stderr = &w.stderr
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

func (w *worker) read(out io.Reader) {
	defer close(w.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p engine.Progress
		if json.Unmarshal(lines.Bytes(), &p) != nil || p.Name == "" {
			continue
		}
		w.mu.Lock()
		w.batches = append(w.batches, p)
		w.mu.Unlock()
	}
}

// progress returns the batches that have been committed so far.
func (w *worker) progress() []engine.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.batches
}

// until waits until done says so of the batches committed so far.
func (w *worker) until(ctx context.Context, done func([]engine.Progress) bool) error {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	seen, since := 0, time.Now()
	err := Await(ctx, 10*time.Millisecond, w.ended, func() bool {
		batches := w.progress()
		if len(batches) > seen {
			seen, since = len(batches), time.Now()
		} else if time.Since(since) > w.quiet {
			giveUp(fmt.Errorf("the worker has committed no batch for %s, after %d", w.quiet, seen))
		}
		return done(batches)
	})
	if errors.Is(err, ErrEnded) {
		return fmt.Errorf("the worker: %w: %w\n%s", err, w.cmd.Wait(), w.stderr.String())
	}
	return err
}

// interrupt asks the worker to stop cleanly and waits for it.
func (w *worker) interrupt() error {
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the worker: %w", err)
	}
	return w.wait()
}

func (w *worker) wait() error {
	w.notePeak()
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("the worker failed: %w\n%s", err, w.stderr.String())
	}
	return nil
}

// notePeak reads the peak until the output has ended, which is just before the process does.
func (w *worker) notePeak() {
	w.peak = max(w.peak, peakUntil(w.pid(), w.ended))
}

// peakUntil is the most memory that a process has in RAM until ended is closed, which is just before or after it ends.
func peakUntil(pid int, ended <-chan struct{}) int64 {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for peak := int64(0); ; {
		peak = max(peak, peakBytes(pid))
		select {
		case <-ended:
			return peak
		case <-tick.C:
		}
	}
}

// peakBytes is the most memory that a worker has had in RAM, known when it has ended. What the kernel says of an ended
// process would not do: that counts the driver too, which it was a copy of before it became the worker.
func (w *worker) peakBytes() int64 { return w.peak }
