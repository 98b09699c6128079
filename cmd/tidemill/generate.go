package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// generateFlags are the flags of generate.
type generateFlags struct {
	natsFlags
	to        string
	newStream string
	rows      int64
	rate      int64
	seed      int64
	pack      int
	changed   func(flag string) bool
}

func (e *env) generateCommand() *cobra.Command {
	var f generateFlags
	c := &cobra.Command{
		Use:   "generate SOURCE FILE.sql --to SUBJECT|FILE",
		Short: "send made-up JSON rows of a generator source to a JetStream subject or a file",
		Long: "SOURCE is declared in FILE.sql WITH (connector = 'generator'). Row n is a function of the seed and n, and of the\n" +
			"time of the start where a time column has no start of its own. Without rows or --rows it goes on until Ctrl-C.",
		Example: "  tidemill generate orders app.sql --to orders.new --create-stream ORDERS --rate 1000\n" +
			"  tidemill generate orders app.sql --to ./orders.ndjson --rows 100000",
		Args: exactArgs("SOURCE", "FILE.sql"),
	}
	f.natsFlags.flags(c, e)
	c.Flags().StringVar(&f.to, "to", "",
		"a subject, or a file if it has a slash or ends in .ndjson, .jsonl, .json or .txt")
	c.Flags().StringVar(&f.newStream, "create-stream", "",
		"make a stream of this name for the subject if it is not there")
	c.Flags().Int64Var(&f.rows, "rows", 0, "rows in all (default: as declared)")
	c.Flags().Int64Var(&f.rate, "rate", 0, "rows per second; 0 for as fast as it goes (default: as declared)")
	c.Flags().Int64Var(&f.seed, "seed", 0, "another seed gives other rows (default: as declared)")
	c.Flags().IntVar(&f.pack, "pack", 1, "rows in one message, as JSON lines")
	c.RunE = func(c *cobra.Command, args []string) error {
		f.changed = c.Flags().Changed
		return e.generate(c.Context(), args[0], args[1], f)
	}
	return c
}

func (e *env) generate(ctx context.Context, source, path string, f generateFlags) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return err
	}
	def, err := named(app.Sources, func(d *planner.Source) string { return d.Name }, "source", source, path)
	if err != nil {
		return err
	}
	if def.Connector != "generator" {
		return diag.New(diag.Usage, "source %q has connector = '%s', not 'generator'", source, def.Connector).
			WithHint("declare one WITH (connector = 'generator', fields = '…')")
	}
	f.override(def.Options)
	ctx, done := e.cancelled(ctx)
	defer done()
	out, err := e.openSender(ctx, f.to, f.natsFlags)
	if err != nil {
		return aborted(ctx, err)
	}
	defer func() {
		if cerr := out.close(); err == nil {
			err = cerr
		}
	}()
	if s, ok := out.(*subjectSender); ok && f.newStream != "" {
		if err := s.create(ctx, f.newStream); err != nil {
			return err
		}
	}
	g := &generation{e: e, out: out, pack: f.pack, left: def.Options.Int("rows"), began: e.clock.Now()}
	g.id = fmt.Sprintf("tidemill-generate-%s-%d", source, g.began.UnixNano())
	return e.generateAll(ctx, app, def, g, f.to)
}

func (f generateFlags) check() error {
	switch {
	case f.to == "":
		return diag.New(diag.Usage, "generate needs --to").WithHint("name a JetStream subject or a file")
	case f.rows < 0, f.rate < 0:
		return diag.New(diag.Usage, "--rows and --rate must not be negative")
	case f.pack < 1 || f.pack > 100_000:
		return diag.New(diag.Usage, "--pack is %d, expected 1 to 100000", f.pack)
	case f.newStream != "" && !natsconn.ValidStream(f.newStream):
		return diag.New(diag.Usage, "--create-stream %q can not be a stream's name", f.newStream).
			WithHint("a stream's name has no spaces, dots, slashes, * or >")
	}
	return nil
}

// override puts the flags that were given in the place of the declared options.
func (f generateFlags) override(o stream.Options) {
	for name, v := range map[string]int64{"rows": f.rows, "rate": f.rate, "seed": f.seed} {
		if f.changed(name) {
			o[name] = v
		}
	}
}

// create makes the stream unless there is one of that name.
func (s *subjectSender) create(ctx context.Context, name string) error {
	_, err := s.js.Stream(ctx, name)
	if err == nil {
		return nil
	}
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return s.fault(err)
	}
	if _, err := s.js.CreateStream(ctx, jetstream.StreamConfig{Name: name,
		Subjects: []string{s.subject}}); err != nil {
		return diag.Wrap(diag.SinkFailed, err, "create stream %q for subject %q", name, s.subject)
	}
	return nil
}

// generation is one run of generate.
type generation struct {
	e        *env
	out      sender
	id       string
	pack     int
	left     int64 // rows to go; 0 at the start for no end
	rows     int64
	messages int64
	packed   int
	body     []byte
	began    time.Time
}

func (e *env) generateAll(ctx context.Context, app *planner.App, def *planner.Source, g *generation,
	to string) error {
	dir, err := os.MkdirTemp("", "tidemill-generate-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // scratch space
	err = engine.Scan(ctx, engine.Options{DataDir: dir, Registry: registry(e), Clock: e.clock}, app, def.Name,
		engine.ScanOptions{Follow: true, Rows: 10_000}, func(p engine.Piece) (bool,
			error) {
			return g.piece(ctx, p)
		})
	if err != nil && ctx.Err() == nil {
		return err //nolint:wrapcheck // coded
	}
	ctx = context.WithoutCancel(ctx) // an interrupt is how an endless run ends: what was made is stored first
	if err := g.emit(ctx); err != nil {
		return err
	}
	if err := g.out.flush(ctx); err != nil {
		return err
	}
	took := e.clock.Now().Sub(g.began)
	fmt.Fprintf(e.stderr, "sent %s in %s to %s in %.1f s (%s rows/s)\n", plural(g.rows, "row"),
		plural(g.messages, "message"), to,
		took.Seconds(), count(int64(float64(g.rows)/max(took.Seconds(), 1e-6))))
	return nil
}

func (g *generation) piece(ctx context.Context, p engine.Piece) (bool, error) {
	for _, rec := range p.Records {
		rows := rowenc.Bind(rec, -1)
		for i := range int(rec.NumRows()) {
			if g.packed > 0 {
				g.body = append(g.body, '\n')
			}
			g.body = rows.JSON(g.body, i)
			g.packed++
			g.rows++
			if g.packed == g.pack {
				if err := g.emit(ctx); err != nil {
					return false, err
				}
			}
			if g.left > 0 && g.rows >= g.left {
				return false, nil
			}
		}
	}
	return true, nil
}

// emit sends the rows that are packed so far. An interrupt leaves them packed.
func (g *generation) emit(ctx context.Context) error {
	if g.packed == 0 {
		return nil
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	g.messages++
	body := append([]byte(nil), g.body...)
	g.body, g.packed = g.body[:0], 0
	return g.out.send(ctx, fmt.Sprintf("%s-%d", g.id, g.messages), body)
}
