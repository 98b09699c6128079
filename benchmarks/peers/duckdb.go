package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tidemill/tidemill/benchmarks"
)

// RunDuckDB is what the process of the contender duckdb does: it reads a job and runs its SQL.
func RunDuckDB(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	lines := bufio.NewReader(in)
	text, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	p, err := benchmarks.OpenPlain(ctx, j.Scratch)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	say := func(event string) error {
		if _, err := fmt.Fprintf(out, "{\"event\":%q}\n", event); err != nil {
			return fmt.Errorf("say %s: %w", event, err)
		}
		return nil
	}
	if err := errors.Join(say("ready"), say("start")); err != nil {
		return err
	}
	if err := p.Exec(ctx, j.SQL); err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if err := say("done"); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, lines); err != nil {
		return fmt.Errorf("wait for the driver: %w", err)
	}
	return nil
}

func writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
