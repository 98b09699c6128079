package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

func (e *env) docsCommand() *cobra.Command {
	c := &cobra.Command{Use: "docs", Short: "write the generated documents", Hidden: true, Args: noArgs}
	dir := c.Flags().String("dir", "docs", "directory to write to")
	c.RunE = func(c *cobra.Command, _ []string) error { return e.writeDocs(c.Context(), *dir) }
	return c
}

func (e *env) writeDocs(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return diag.New(diag.Usage, "%q can not be made: %s", dir, reasonOf(err))
	}
	docs, err := e.generatedDocs(ctx)
	if err != nil {
		return err
	}
	for _, name := range sortedNames(docs) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(docs[name]), 0o644); err != nil {
			return diag.New(diag.Usage, "%q can not be written: %s", filepath.Join(dir, name), reasonOf(err))
		}
		fmt.Fprintln(e.stdout, filepath.Join(dir, name))
	}
	return nil
}

// generatedDocs are the documents that are made from the program itself, by file name.
func (e *env) generatedDocs(ctx context.Context) (map[string]string, error) {
	plainEnv := &env{stdin: e.stdin, stdout: e.stdout, stderr: e.stderr, clock: e.clock,
		connectors: e.connectors,
		getenv:     func(string) (string, bool) { return "", false }} // so that defaults are everybody's
	shapes, err := e.supportDoc(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"errors.md":      errorsDoc(),
		"connectors.md":  connectorsDoc(registry(e)),
		"cli.md":         cliDoc(plainEnv.root()),
		"sql-support.md": shapes,
	}, nil
}

const generatedNote = "<!-- made by `make generate` from the program itself; do not edit -->\n\n"

func errorsDoc() string {
	var b strings.Builder
	b.WriteString("# Error codes\n\n" + generatedNote +
		"Codes are stable: scripts may match on them. The exit code is that of the process when the fault ends a command.\n\n" +
		"| code | exit | meaning |\n|---|---|---|\n")
	for _, d := range diag.Codes() {
		fmt.Fprintf(&b, "| `%s` | %d | %s |\n", d.Code, d.Exit, d.Meaning)
	}
	return b.String()
}

func connectorsDoc(reg stream.Registry) string {
	var b strings.Builder
	b.WriteString("# Connectors and their options\n\n" + generatedNote +
		"Options stand in `WITH (…)`. `${NAME}` and `${NAME:-default}` expand in their values; secrets are written `'env:NAME'` or\n" +
		"`'file:PATH'`. A *fixed* option must not change while the checkpoint lives: a new value makes another query.\n\n## Sources\n")
	for _, name := range sortedNames(reg.Sources) {
		c := reg.Sources[name]
		specDoc(&b, c.Spec, nil)
	}
	b.WriteString("\n### Options of every source\n\n")
	fieldsDoc(&b, stream.SourceFields(true))
	b.WriteString("\n### Options of every source that gives payloads\n\n`generator` and `memory` make rows themselves and do not take these.\n\n")
	fieldsDoc(&b, stream.SourceFields(false)[len(stream.SourceFields(true)):])
	b.WriteString("\n## Sinks\n")
	for _, name := range sortedNames(reg.Sinks) {
		c := reg.Sinks[name]
		modes := make([]string, len(c.Modes))
		for i, m := range c.Modes {
			modes[i] = m.String()
		}
		facts := []string{"Output modes: " + strings.Join(modes, ", ") + "."}
		if c.Slots {
			facts = append(facts, "Takes backfills and cron slots.")
		}
		if c.Place != nil {
			facts = append(facts, "One place takes one sink of one query.")
		}
		specDoc(&b, c.Spec, facts)
	}
	q := sqlfront.QuerySpec()
	b.WriteString("\n## Queries\n\n" + q.Summary + "\n\n")
	fieldsDoc(&b, q.Fields)
	fmt.Fprintf(&b, "\n```sql\n%s\n```\n", q.Example)
	return b.String()
}

func specDoc(b *strings.Builder, s stream.Spec, facts []string) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n**Promise:** %s\n\n", s.Name, s.Summary, s.Guarantee)
	for _, f := range facts {
		b.WriteString(f + "\n\n")
	}
	fieldsDoc(b, s.Fields)
	if s.Example != "" {
		fmt.Fprintf(b, "\n```sql\n%s\n```\n", s.Example)
	}
}

func fieldsDoc(b *strings.Builder, fields []stream.Field) {
	if len(fields) == 0 {
		b.WriteString("No options of its own.\n")
		return
	}
	b.WriteString("| option | type | default | |\n|---|---|---|---|\n")
	for _, f := range fields {
		def := ""
		switch {
		case f.Required:
			def = "*required*"
		case f.Default != "":
			def = "`" + f.Default + "`"
		}
		summary := f.Summary
		if f.Fixed {
			summary += " *Fixed.*"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Name, typeDoc(f), def, strings.ReplaceAll(summary, "|",
			"\\|"))
	}
}

func typeDoc(f stream.Field) string {
	switch f.Type {
	case stream.Int:
		return "integer"
	case stream.Bool:
		return "true or false"
	case stream.Duration:
		return "duration"
	case stream.Bytes:
		return "bytes"
	case stream.Enum:
		return "`" + strings.Join(f.Values, "`, `") + "`"
	case stream.Secret:
		return "secret"
	case stream.List:
		return "list"
	default:
		return "text"
	}
}

func cliDoc(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The command line\n\n" + generatedNote + root.Long + "\n\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, x := range exitCodes() {
		fmt.Fprintf(&b, "| %d | %s |\n", x.code, x.meaning)
	}
	b.WriteString("\nWhich fault has which exit code: [errors.md](errors.md).\n\n" +
		"Results go to standard output, messages to standard error. Reading commands print a table on a terminal and one JSON object\n" +
		"per line otherwise; `-o table|json|jsonl|csv` chooses, `--json` is `-o json`. JSON names are stable: they are only added to.\n" +
		"JSON has no number for NaN and the infinities: json and jsonl write null for them, where DuckDB's to_json writes a bare NaN or\n" +
		"Infinity, which JSON readers refuse; csv and tables say NaN, +Inf and -Inf. Output that can not be written, such as to a full\n" +
		"disk, is OUTPUT_FAILED; when the reader of a pipe has gone, the command just ends.\n" +
		"`TIDEMILL_DATA_DIR` is the default of `--data-dir`, `NATS_URL` that of `--url`.\n\n## Commands\n")
	commandDoc(&b, root)
	return b.String()
}

type exitCode struct {
	code    diag.Exit
	meaning string
}

// exitCodes is the table of docs/cli.md.
func exitCodes() []exitCode {
	return []exitCode{
		{diag.ExitOK, "ok"},
		{diag.ExitFailed, "failed, or found errors"},
		{diag.ExitUsage, "wrong usage or configuration"},
		{diag.ExitSQL, "SQL refused"},
		{diag.ExitState, "checkpoint, state or sink marker unusable"},
		{diag.ExitUnreachable, "source, sink or server unreachable"},
		{diag.ExitAborted, "second interrupt"},
	}
}

// commandDoc describes the commands below c, in the order of their names.
func commandDoc(b *strings.Builder, c *cobra.Command) {
	subs := append([]*cobra.Command(nil), c.Commands()...)
	sort.Slice(subs, func(i, j int) bool { return subs[i].Name() < subs[j].Name() })
	for _, sub := range subs {
		if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		fmt.Fprintf(b, "\n### %s\n\n%s.\n", strings.TrimPrefix(sub.CommandPath(), "tidemill "),
			upperFirst(sub.Short))
		if sub.Long != "" {
			b.WriteString("\n" + sub.Long + "\n")
		}
		if sub.Runnable() {
			fmt.Fprintf(b, "\n```\n%s\n```\n", strings.TrimSuffix(sub.UseLine(), " [flags]"))
		}
		if sub.Example != "" {
			fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(sub.Example, "  "),
				"\n  ", "\n"))
		}
		flagsDoc(b, sub)
		commandDoc(b, sub)
	}
}

func flagsDoc(b *strings.Builder, c *cobra.Command) {
	var rows []string
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		def := ""
		if f.DefValue != "" && f.DefValue != "[]" && f.DefValue != "false" {
			def = "`" + f.DefValue + "`"
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |\n", name, def,
			strings.ReplaceAll(upperFirst(f.Usage), "|", "\\|")))
	})
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n| flag | default | |\n|---|---|---|\n" + strings.Join(rows, ""))
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
