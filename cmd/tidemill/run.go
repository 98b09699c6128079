package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/httpapi"
	"github.com/tidemill/tidemill/planner"
)

// runFlags are the flags of run.
type runFlags struct {
	dataDir      string
	queries      []string
	availableNow bool
	once         bool
	brokerFlags
	listen   string
	progress string
	takeOver bool
	memory   string
	threads  int
	logLevel string
	profiles profiles
}

func (e *env) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run FILE.sql",
		Short: "run the queries of a file until they end or are stopped",
		Long: "Run drives every query of the file by its trigger. The first Ctrl-C finishes the batches in flight and stops\n" +
			"cleanly; a second one stops at once, which is safe: the next start goes on where the log stands.",
		Args: exactArgs("FILE.sql"),
		RunE: func(c *cobra.Command, args []string) error { return e.run(c.Context(), args[0], f) },
	}
	c.Flags().StringSliceVar(&f.queries, "query", nil, "run only these queries")
	c.Flags().BoolVar(&f.availableNow, "available-now", false,
		"take what is there now, in batches, then stop")
	c.Flags().BoolVar(&f.once, "once", false, "run one batch with all that is there, then stop")
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8088",
		"address of /metrics, /livez and /readyz; 'off' for none")
	c.Flags().StringVar(&f.progress, "progress", "auto",
		"progress on standard output: auto, tty, jsonl or off")
	c.Flags().BoolVar(&f.takeOver, "take-over", false, "adopt sinks whatever their markers say")
	e.workFlags(c, &f)
	f.profiles.flags(c)
	return c
}

func (e *env) defaultDataDir() string {
	if dir, ok := e.getenv("TIDEMILL_DATA_DIR"); ok && dir != "" {
		return dir
	}
	return ".tidemill"
}

func (e *env) run(ctx context.Context, path string, f runFlags) (err error) {
	if f.availableNow && f.once {
		return diag.New(diag.Usage, "--available-now and --once exclude each other")
	}
	if info, err := os.Stat(f.dataDir); err == nil && !info.IsDir() {
		return checkpoint.Unmakable(f.dataDir, syscall.ENOTDIR) //nolint:wrapcheck // a coded error
	}
	profiled, err := f.profiles.start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, profiled()) }()
	stopNATS, err := e.embedNATS(f.brokerFlags, f.dataDir)
	if err != nil {
		return err
	}
	defer stopNATS()
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return err
	}
	if _, err := pick(app, ""); err != nil {
		return err
	}
	opt, err := e.engineOptions(f, app)
	if err != nil {
		return err
	}
	show, err := e.newProgress(f.progress, app)
	if err != nil {
		return err
	}
	opt.Log = e.log(show, f.logLevel)
	api := httpapi.New()
	if f.listen != "off" {
		if err := api.Start(ctx, f.listen); err != nil {
			return err //nolint:wrapcheck // a coded error
		}
		defer func() {
			stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			defer cancel()
			err = errors.Join(err, api.Stop(stopCtx))
		}()
		show.serving(api.Addr())
	}
	opt.Listener = engine.Join(api.Listener(), show.listener())
	ctx, stop, done := interrupts(ctx, func() {
		_,
			_ = show.Write([]byte(drainingText))
	}) // standard error is gone
	defer done()
	err = engine.Run(ctx, opt, app, f.queries, stop)
	show.done()
	if errors.Is(context.Cause(ctx), errAborted) {
		fmt.Fprintln(e.stderr, "aborted; the next start goes on from the last committed batch")
		return exitError{diag.ExitAborted}
	}
	return err //nolint:wrapcheck // coded errors
}

func (e *env) engineOptions(f runFlags, app *planner.App) (engine.Options, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return engine.Options{}, diag.New(diag.Usage, "log level %q is not debug, info, warn or error",
			f.logLevel)
	}
	if f.threads < 0 {
		return engine.Options{}, diag.New(diag.Usage, "--threads is %d, expected 0 or more", f.threads)
	}
	total, err := memoryLimit(f.memory)
	if err != nil {
		return engine.Options{}, err
	}
	e.shareMemory(total)
	n := len(f.queries)
	if n == 0 {
		n = max(1, len(app.Queries))
	}
	each, err := eachMemory(total, n)
	if err != nil {
		return engine.Options{}, err
	}
	opt := engine.Options{DataDir: f.dataDir, Clock: e.clock, Registry: registry(e), Parse: e.parser(),
		TakeOver:    f.takeOver,
		MemoryLimit: each, Threads: f.threads, Version: version(),
		Log: e.log(e.stderr, f.logLevel)}
	override := engine.OverrideOnce
	if f.availableNow {
		override = engine.OverrideAvailableNow
	}
	if f.availableNow || f.once {
		opt.Trigger = &override
	}
	return opt, nil
}

// log writes to w what is at least of the level, which engineOptions has checked.
func (e *env) log(w io.Writer, text string) *slog.Logger {
	level := slog.LevelWarn
	if err := level.UnmarshalText([]byte(text)); err != nil {
		level = slog.LevelWarn
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// abortGrace is how long an aborted command may take to let go of what it holds.
const abortGrace = time.Second

var errAborted = errors.New("second interrupt") //nolint:gochecknoglobals // a sentinel

// interrupts turns the first SIGINT or SIGTERM into a closed stop channel and the second into a cancelled context.
// done ends the goroutine behind it.
func (e *env) interrupts(parent context.Context) (ctx context.Context, stop chan struct{}, done func()) {
	return interrupts(parent, func() {
		fmt.Fprint(e.stderr, drainingText)
	})
}

const drainingText = "draining: finishing the batches in flight; interrupt again to stop at once\n"

func interrupts(parent context.Context, first func()) (ctx context.Context, stop chan struct{}, done func()) {
	ctx, cancel := context.WithCancelCause(parent)
	stop = make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	var count atomic.Int32
	quit := make(chan struct{})
	go func() { // ends with done
		for {
			select {
			case <-quit:
				return
			case <-signals:
			}
			if count.Add(1) == 1 {
				first()
				close(stop)
				continue
			}
			cancel(errAborted)
			select {
			case <-quit:
			case <-time.After(abortGrace): // one call of DuckDB may take long, and nothing has to be finished
				fmt.Fprintln(os.Stderr, "aborted while a statement ran; what was committed is safe, and the next start goes on from there")
				os.Exit(int(diag.ExitAborted))
			}
			return
		}
	}()
	return ctx, stop, func() {
		signal.Stop(signals)
		close(quit)
		cancel(nil)
	}
}
