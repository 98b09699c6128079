package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sources/jetstream"
	"github.com/tidemill/tidemill/stream"
)

// droppedPrefix begins the name of a directory that is being removed. A query's name has no '-'.
const droppedPrefix = "dropped-"

// dropFlags are the flags of drop.
type dropFlags struct {
	brokerFlags
	dataDir string
	yes     bool
	local   bool
}

func (e *env) dropCommand() *cobra.Command {
	var f dropFlags
	c := &cobra.Command{
		Use:   "drop QUERY",
		Short: "remove a query for good: its directory, and its durable consumer on the server if it has one",
		Long: "Drop removes the log, the state, the table copies and the dead letters of a query, and the durable consumer by which\n" +
			"it read a work-queue or interest stream: while that is there, the server keeps messages for it. What the query has\n" +
			"delivered stays in its sinks, with its marker: another query can write there only after --take-over. The query must not\n" +
			"be running. It says what it will remove and asks on a terminal; elsewhere it wants --yes.",
		Args: exactArgs("QUERY"),
		RunE: func(c *cobra.Command, args []string) error { return e.drop(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.dataDir, "data-dir", e.defaultDataDir(),
		"directory of logs, checkpoints and dead letters")
	f.brokerFlags.add(c)
	c.Flags().BoolVar(&f.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&f.local, "local", false,
		"remove the directory only: the server is gone, or the directory is too damaged to say where the consumer is")
	return c
}

func (e *env) drop(ctx context.Context, query string, f dropFlags) (err error) {
	if err := finishDrops(f.dataDir); err != nil {
		return err
	}
	dir, err := queryThere(f.dataDir, query)
	if err != nil {
		return err
	}
	lock, err := vfs.Lock(dir, "tidemill drop "+query)
	if err != nil {
		return dropLocked(query, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	var consumers []*jetstream.Leftover
	if !f.local {
		stopNATS, err := e.embedNATS(f.brokerFlags, f.dataDir)
		if err != nil {
			return err
		}
		defer stopNATS()
		consumers, err = e.consumersOf(ctx, query, dir)
		defer func() {
			for _, c := range consumers {
				c.Close()
			}
		}()
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stderr, "this removes %s\n", dir)
	for _, c := range consumers {
		fmt.Fprintf(e.stderr, "and consumer %s of stream %s, for which the server keeps %s\n", c.Name, c.Stream,
			plural(int64(c.Waiting), "message")) //nolint:gosec // far below 2^63
	}
	if agreed, err := e.agreed(f.yes); err != nil || !agreed {
		return err
	}
	// The directory knows the names of the consumers, so it goes last: what fails before can be repeated.
	for _, c := range consumers {
		if err := c.Remove(ctx); err != nil {
			return fmt.Errorf("drop query %q: %w", query, err)
		}
		fmt.Fprintf(e.stdout, "removed consumer %s of stream %s\n", c.Name, c.Stream)
	}
	if err := removeQuery(f.dataDir, dir, query); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "removed %s\n", dir)
	return nil
}

// dropLocked says who runs the query.
func dropLocked(query string, err error) error {
	var held *vfs.LockedError
	if !errors.As(err, &held) {
		return fmt.Errorf("drop query %q: %w", query, err)
	}
	return diag.Wrap(diag.CheckpointLocked, held, "query %q is in use", query).
		WithHint("stop that process first")
}

// agreed asks on a terminal whether to go on. An end of the input is no.
func (e *env) agreed(yes bool) (bool, error) {
	if yes {
		return true, nil
	}
	if !e.tty {
		return false, diag.New(diag.Usage, "nothing was removed: there is no terminal to ask on").
			WithHint("say --yes to remove it")
	}
	fmt.Fprint(e.stderr, "remove it? [y/N] ")
	line, err := bufio.NewReader(e.stdin).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	if answer == "y" || answer == "yes" {
		return true, nil
	}
	if err != nil {
		fmt.Fprintln(e.stderr)
	}
	fmt.Fprintln(e.stderr, "nothing was removed")
	return false, exitError{diag.ExitFailed}
}

// consumersOf looks on the servers for what the query left there. The query's own text, as its checkpoint has it, says
// where its sources are.
func (e *env) consumersOf(ctx context.Context, query, dir string) ([]*jetstream.Leftover, error) {
	if orphaned(dir) {
		return nil, withLocalHint(noMeta(dir))
	}
	s, err := checkpoint.Inspect(vfs.OS{}, dir)
	if err != nil {
		return nil, withLocalHint(err)
	}
	app, err := e.parse(ctx, &diag.Text{Name: query + " (as in the checkpoint)", Body: s.Meta.SQL}, registry(e))
	if err != nil {
		return nil, withLocalHint(err)
	}
	read := map[string]bool{}
	for _, in := range []*checkpoint.Intent{s.LastIntent, s.Pending} {
		if in != nil {
			for name := range in.Sources {
				read[name] = true
			}
		}
	}
	var found []*jetstream.Leftover
	for _, src := range app.Sources {
		// A query that has not run a batch does not say which sources it reads; to look for one too many is no fault.
		if src.Connector != "jetstream" || len(read) > 0 && !read[src.Name] {
			continue
		}
		c, err := jetstream.FindLeftover(ctx, stream.SourceConfig{Name: src.Name, Options: src.Options, Query: s.Meta.UUID,
			Clock: e.clock})
		if err != nil {
			return found, withLocalHint(err)
		}
		if c != nil {
			found = append(found, c)
		}
	}
	return found, nil
}

// withLocalHint names the way that needs neither a server nor a whole directory.
func withLocalHint(err error) error {
	coded := diag.All(err)
	if coded == nil {
		return err
	}
	coded[len(coded)-1].WithNote("tidemill drop --local removes the directory and asks no server: a consumer that is left " +
		"there is named tidemill-UUID-…, and `nats consumer rm` removes it")
	return coded
}

// removeQuery takes the directory out of sight in one step and then removes it; finishDrops ends what a crash cuts.
func removeQuery(dataDir, dir, query string) error {
	gone := filepath.Join(dataDir, droppedPrefix+query)
	if err := os.Rename(dir, gone); err != nil {
		return fmt.Errorf("drop query %q: %w", query, err)
	}
	if err := (vfs.OS{}).SyncDir(dataDir); err != nil {
		return fmt.Errorf("drop query %q: %w", query, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("drop query %q: %w", query, err)
	}
	return nil
}

// finishDrops removes what a drop that was killed left.
func finishDrops(dataDir string) error {
	left, err := filepath.Glob(filepath.Join(escapeGlob(dataDir), droppedPrefix+"*"))
	if err != nil {
		return fmt.Errorf("look for dropped queries: %w", err)
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", dir, err)
		}
	}
	return nil
}

// escapeGlob makes a pattern that matches a path itself.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
