package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
)

// main runs one command line and returns the process's exit code.
func (e *env) main(ctx context.Context, args []string) diag.Exit {
	out := &checked{w: e.stdout}
	e.stdout = out
	root := e.root()
	root.SetArgs(args)
	root.SetIn(e.stdin)
	root.SetErr(e.stderr)
	err := out.fault(execute(ctx, root))
	if err == nil {
		return diag.ExitOK
	}
	var code exitError
	said := errors.As(err, &code)
	if !said || diag.CodeOf(err) != "" {
		fmt.Fprintln(e.stderr, diag.Render(err))
	}
	if said {
		return code.exit
	}
	return diag.ExitOf(err)
}

// execute runs a command line. A panic is a fault with a code, whichever command it strikes.
func execute(ctx context.Context, root *cobra.Command) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = diag.New(diag.Internal, "%v", r).WithNote("%s", debug.Stack()).
				WithHint("this is a fault of Tidemill; a command that reads changes nothing")
		}
	}()
	return root.ExecuteContext(ctx) //nolint:wrapcheck // main prints it
}

// exitError ends a command that has said all there is to say.
type exitError struct{ exit diag.Exit }

func (e exitError) Error() string { return fmt.Sprintf("exit %d", e.exit) }

func (e *env) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "tidemill",
		Short: "Exactly-once streaming SQL over NATS JetStream, in one binary",
		Long: "Tidemill slices JetStream data into batches, runs one DuckDB SQL plan on each, and commits every batch\n" +
			"through a write-ahead log, so that sinks hold each result exactly once. The same SQL runs over history.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return diag.New(diag.Usage, "%s", err).WithHint("see %s --help", c.CommandPath())
	})
	root.AddCommand(e.commands()...)
	root.SetHelpCommand(helpCommand(root))
	root.SetOut(e.stdout) // the next line keeps where the output goes
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // by itself it would take any word for a question
			c.Args, c.RunE = noArgs, func(c *cobra.Command, _ []string) error { return c.Help() }
		}
	}
	return root
}

// helpCommand shows a command's help, and refuses words that are no command.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			found, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return noArgs(found, rest)
			}
			return found.Help()
		},
	}
}

// noArgs refuses words that no command takes, with the nearest command.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	e := diag.New(diag.Usage, "unknown command or argument %q", args[0])
	names := make([]string, 0, len(c.Commands()))
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	if near := diag.Near(args[0], names); near != "" {
		return e.WithHint("did you mean %q?", c.CommandPath()+" "+near)
	}
	return e.WithHint("see %s --help", c.CommandPath())
}

// exactArgs asks for the named words.
func exactArgs(names ...string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return diag.New(diag.Usage, "%s takes %s, not %d words", c.CommandPath(), strings.Join(names, " "),
			len(args)).
			WithHint("see %s --help", c.CommandPath())
	}
}
