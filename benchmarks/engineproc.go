package benchmarks

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tidemill/tidemill/engine"
)

// refusal says that the engine does not take a query.
type refusal struct{ code, why string }

func (r *refusal) Error() string { return "the engine refuses the query: " + r.code + ": " + r.why }

// engine runs a task in a process of its own, in a folder of its own, and returns what became of it.
func (r *run) engine(ctx context.Context, t *task) (*outcome, error) {
	if t.From == 0 {
		t.Dir = filepath.Join(r.Dir, r.report.Suite, t.Dir)
	}
	if err := os.MkdirAll(t.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the task's folder: %w", err)
	}
	t.Threads, t.Memory = r.Threads, cmp.Or(r.Memory/int64(max(1, len(t.Queries))), taskMemory)
	text, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode the task: %w", err)
	}
	var out, faults strings.Builder
	cmd := exec.CommandContext(ctx, r.Binary, EngineCommand) //nolint:gosec // ourselves
	cmd.Stdout, cmd.Stderr = &out, &faults
	if r.Memory > 0 { // as run shares it between Go and DuckDB
		cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", engine.GoMemory(r.Memory)))
	}
	in, err := cmd.StdinPipe() // stays open until the process has ended: its end is the process's end
	if err != nil {
		return nil, fmt.Errorf("open the input of the engine's process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the engine's process: %w", err)
	}
	_, err = in.Write(append(text, '\n'))
	werr := cmd.Wait()
	if t.Kill && ctx.Err() == nil && killed(werr) {
		werr = nil
	}
	if err = errors.Join(err, werr); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("the engine's process failed: %w\n%s", err, faults.String())
	}
	var o outcome
	if err := json.Unmarshal([]byte(out.String()), &o); err != nil {
		return nil, fmt.Errorf("read the outcome: %w", err)
	}
	if o.Refused != "" {
		return nil, &refusal{o.Refused, o.Why}
	}
	r.peak = max(r.peak, o.Peak)
	return &o, nil
}

// killed reports that a process ended as a task with Kill does.
func killed(err error) bool {
	var e *exec.ExitError
	if !errors.As(err, &e) {
		return false
	}
	status, ok := e.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// taskMemory is what a query of a task may use.
const taskMemory = 3 << 30
