package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/benchmarks"
)

// command is how a contender is started.
type command struct {
	path  string
	args  []string
	env   []string // beside the driver's own
	input any      // for standard input, as one line of JSON; nil for none
	term  bool     // it stops by SIGTERM, not by the end of its standard input, and does not say when it starts
}

// child is a contender at work, in a process group of its own.
type child struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	term   bool
	began  time.Time
	stderr tail
	ended  chan struct{} // closed when its output has ended

	mu   sync.Mutex
	seen seen // guarded by mu
}

// seen is what a child has said and used so far.
type seen struct {
	version string
	refused *line
	started bool // the measured query has started
	start   mark // when; at the process's start where it does not say
	done    mark // its end; zero before
	batches []line
	peak    int64
}

// mark is a moment and the CPU time used until then.
type mark struct {
	at  time.Time
	cpu float64
}

// sampleEvery is how often memory is looked at. High-water marks of processes that live on do not depend on it.
const sampleEvery = 100 * time.Millisecond

// start starts a contender. It is killed, with all that it started, when ctx ends.
func start(ctx context.Context, c command) (*child, error) {
	p := &child{cmd: exec.CommandContext(ctx, c.path, c.args...), term: c.term, ended: make(chan struct{})} //nolint:gosec // contenders
	p.cmd.Env = append(os.Environ(), c.env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = p.kill
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open a contender's output: %w", err)
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open a contender's input: %w", err)
	}
	p.began = time.Now()
	p.seen.start.at, p.seen.started = p.began, c.term
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a contender: %w", err)
	}
	go p.read(out) // ends with the output
	go p.sample()  // likewise
	if c.input != nil {
		if err := json.NewEncoder(p.input).Encode(c.input); err != nil {
			return nil, errors.Join(fmt.Errorf("tell a contender its job: %w", err), p.kill(), p.cmd.Wait())
		}
	}
	return p, nil
}

// kill ends the whole group.
func (p *child) kill() error {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill a contender: %w", err)
	}
	return nil
}

func (p *child) read(out io.Reader) {
	defer close(p.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if l, ok := parseLine(lines.Bytes()); ok {
			l.at = time.Now()
			p.note(l)
		}
	}
}

func (p *child) note(l line) {
	var u usage
	if l.Event == "start" || l.Event == "done" {
		u = groupUsage(p.cmd.Process.Pid)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.peak = max(p.seen.peak, u.peak)
	switch l.Event {
	case "":
		p.seen.batches = append(p.seen.batches, l)
	case "ready":
		p.seen.version = l.Version
	case "start":
		p.seen.started, p.seen.start = true, mark{l.at, u.cpu}
		p.seen.batches = nil // of the warm-up
	case "done":
		p.seen.done = mark{l.at, u.cpu}
	case "refused":
		p.seen.refused = &l
	}
}

// look returns what is known now.
func (p *child) look() seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// now is this moment's mark.
func (p *child) now() mark { return mark{time.Now(), groupUsage(p.cmd.Process.Pid).cpu} }

func (p *child) sample() {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		u := groupUsage(p.cmd.Process.Pid)
		p.mu.Lock()
		p.seen.peak = max(p.seen.peak, u.peak)
		p.mu.Unlock()
		select {
		case <-p.ended:
			return
		case <-tick.C:
		}
	}
}

// until waits until done says so of what the child has said.
func (p *child) until(ctx context.Context, done func(seen) bool) error {
	return benchmarks.Await(ctx, 5*time.Millisecond, p.ended, func() bool { return done(p.look()) }) //nolint:wrapcheck // says it
}

// finish lets the child end, by asking it to or by itself, and waits for it.
func (p *child) finish() error {
	if err := p.input.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close a contender's input: %w", err)
	}
	<-p.ended
	err := p.cmd.Wait()
	if killed := p.kill(); killed != nil { // what it left behind
		return errors.Join(err, killed)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, p.stderr.last())
	}
	return nil
}

// stop asks a child that follows its input to come to an end.
func (p *child) stop() error {
	if p.term {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop a contender: %w", err)
		}
	}
	return p.finish()
}

// tail keeps the end of what is written to it.
type tail struct{ text []byte }

const tailBytes = 64 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	if len(t.text) > tailBytes {
		t.text = append([]byte(nil), t.text[len(t.text)-tailBytes:]...)
	}
	return len(b), nil
}

// last is what a person needs to see of it.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
