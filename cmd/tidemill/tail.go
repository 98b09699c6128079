package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/sinks/letters"
)

// tailFlags are the flags of tail.
type tailFlags struct {
	from   string
	limit  int64
	follow bool
	reading
}

func (e *env) tailCommand() *cobra.Command {
	var f tailFlags
	c := &cobra.Command{
		Use:   "tail SOURCE FILE.sql",
		Short: "print the decoded rows of a source, one JSON object a line, with what does not decode",
		Long: "Tail reads as a query would, and prints the rows on standard output and what does not decode on standard error.\n" +
			"--from latest waits for new rows; --from earliest prints what is there and ends, unless --follow.",
		Args: exactArgs("SOURCE", "FILE.sql"),
	}
	c.Flags().StringVar(&f.from, "from", "latest", "latest, or earliest: where a new query would begin")
	c.Flags().Int64Var(&f.limit, "limit", 0, "end after so many rows and faults; 0 for no limit")
	c.Flags().BoolVar(&f.follow, "follow", false, "wait for new rows")
	f.reading.add(e, c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if f.from == "latest" && !c.Flags().Changed("follow") {
			f.follow = true
		}
		return e.tail(c.Context(), args[0], args[1], f)
	}
	return c
}

func (e *env) tail(ctx context.Context, source, path string, f tailFlags) error {
	switch {
	case f.from != "latest" && f.from != "earliest":
		return diag.New(diag.Usage, "--from %q is not latest or earliest", f.from)
	case f.limit < 0:
		return diag.New(diag.Usage, "--limit is %d, expected 0 or more", f.limit)
	}
	stopNATS, err := e.embedNATS(f.brokerFlags, f.dataDir)
	if err != nil {
		return err
	}
	defer stopNATS()
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "tidemill-tail-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // scratch space
	ctx, done := e.cancelled(ctx)
	defer done()
	left := f.limit
	more := func() bool { left--; return left != 0 } // a limit of 0 never comes by
	so := engine.ScanOptions{Latest: f.from == "latest", Follow: f.follow, Rows: f.limit}
	err = engine.Scan(ctx, engine.Options{DataDir: dir, Registry: registry(e), Clock: e.clock}, app, source,
		so,
		func(p engine.Piece) (bool, error) { return e.tailPiece(p, more) })
	if err != nil && ctx.Err() != nil && f.follow {
		return nil // an interrupt is how a follower ends
	}
	return aborted(ctx, err)
}

// tailPiece prints faults, then rows, until more says no.
func (e *env) tailPiece(p engine.Piece, more func() bool) (bool, error) {
	for _, fault := range p.Faults {
		fmt.Fprintln(e.stderr, faultLine(fault))
		if !more() {
			return false, nil
		}
	}
	var line []byte
	for _, rec := range p.Records {
		rows := rowenc.Bind(rec, -1)
		for i := range int(rec.NumRows()) {
			line = append(rows.JSON(line[:0], i), '\n')
			if e.tty {
				line = []byte(rowenc.Plain(strings.TrimSuffix(string(line), "\n")) + "\n")
			}
			if _, err := e.stdout.Write(line); err != nil {
				return false, fmt.Errorf("write rows: %w", err)
			}
			if !more() {
				return false, nil
			}
		}
	}
	return true, nil
}

// faultLine shows where a payload is, why it does not decode, and how it begins.
func faultLine(l letters.Letter) string {
	const shown = 120
	payload := string(l.Payload)
	if !utf8.ValidString(payload) {
		payload = strings.ToValidUTF8(payload, "\ufffd")
	}
	if runes := []rune(payload); len(runes) > shown {
		payload = string(runes[:shown]) + "…"
	}
	text, err := json.Marshal(payload)
	if err != nil {
		text = nil // a string can be marshalled
	}
	place := "message " + l.Place()
	if l.File != "" {
		place = "file " + l.Place()
	}
	if l.Index >= 0 {
		place += fmt.Sprintf(", row %d", l.Index)
	}
	if l.Subject != "" {
		place = l.Subject + " " + place
	}
	return rowenc.Plain(fmt.Sprintf("fault: %s: %s: %s", place, l.Reason, text))
}
