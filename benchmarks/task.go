package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// EngineCommand is the hidden command of the binary that Engine serves.
const EngineCommand = "bench-engine"

// task is what a process of the engine alone runs: queries over rows that it makes itself, step by step.
// Each step's rows are one batch of each query, and whatever follows it without data belongs to the step.
type task struct {
	SQL     string        `json:"sql"`
	Queries []string      `json:"queries"`
	Dir     string        `json:"dir"` // results are left here, a folder for each sink
	Feed    feedSpec      `json:"feed"`
	Files   bool          `json:"files,omitempty"`   // the sources are of files, and what they hold is one step
	Profile string        `json:"profile,omitempty"` // a file for the CPU profile
	Steps   int           `json:"steps"`             // how many at least
	Filled  int           `json:"filled,omitempty"`  // so many of them are no part of For
	Weigh   bool          `json:"weigh,omitempty"`   // read the memory in use at first and after Filled
	For     time.Duration `json:"for,omitempty"`     // after Filled, steps go on for so long
	Finish  bool          `json:"finish,omitempty"`  // end with the watermark at infinity
	From    int           `json:"from,omitempty"`    // the first step; those before it are another process's
	Results string        `json:"results,omitempty"` // a folder in Dir for results of this process alone
	Kill    bool          `json:"kill,omitempty"`    // end by SIGKILL, between two batches, with the sinks' files whole
	Threads int           `json:"threads,omitempty"`
	Memory  int64         `json:"memory,omitempty"` // limit of a query in bytes
}

// outcome is what became of a task.
type outcome struct {
	Refused string    `json:"refused,omitempty"` // the code of the refusal; only Why is set beside it
	Why     string    `json:"why,omitempty"`
	Steps   int       `json:"steps"`
	Laps    []lap     `json:"laps"` // one for each step and query, in order; the end is step Steps
	Keys    []string  `json:"keys"` // of the first query's result in update mode
	CPU     float64   `json:"cpu_seconds"`
	Opened  int64     `json:"opened_bytes"`     // of memory, when the queries stood open
	Opening float64   `json:"opening_ms"`       // from the text to queries that stand where their logs say
	OpenCPU float64   `json:"open_cpu_seconds"` // of the process, until then
	Reruns  int       `json:"reruns"`           // batches that were run again for it
	Rerun   float64   `json:"rerun_ms"`         // what that took
	Load    float64   `json:"load_ms"`          // what loading the state version before took
	Kept    []kept    `json:"kept"`             // state versions
	Data    []float64 `json:"data_ms"`          // of each batch that had data
	State   int64     `json:"state_bytes"`      // of the state versions on disk, the most that a step left
	Filled  int64     `json:"filled_bytes"`     // after the step of that name
	Peak    int64     `json:"peak_bytes"`
}

// kept is a state version that became durable between two laps.
type kept struct {
	At     float64 `json:"at_ms"`   // since the queries were opened
	Held   float64 `json:"held_ms"` // how long batches waited for it
	Millis float64 `json:"ms"`      // until it was durable
}

// Engine runs the task that in holds and writes its outcome to out. It is what the process of the engine
// does, and it ends early when in ends, so that it can not outlive the driver.
func Engine(ctx context.Context, in io.Reader, out io.Writer) error {
	var t task
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&t); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with in, which ends with the driver or the process
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("the driver has ended"))
	}()
	result, err := t.run(ctx)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(result); err != nil {
		return fmt.Errorf("write the outcome: %w", err)
	}
	if t.Kill {
		return syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:wrapcheck // nobody will read it
	}
	return nil
}
