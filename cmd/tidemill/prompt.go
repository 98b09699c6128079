package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/tidemill/tidemill/internal/diag"
)

const promptHelp = `statements end with ;
  SELECT …            over sources (their whole history), tables and views
  CREATE / DROP …     sources, tables, views, macros, sinks and queries of this session
  SHOW SOURCES | TABLES | VIEWS | MACROS | SINKS | QUERIES, DESCRIBE name, EXPLAIN query
  \d [name]           what there is, or its columns
  \o FORM             table, json, jsonl or csv
  \timing             on or off
  \q                  leave
`

// errQuit ends the prompt.
var errQuit = errors.New("quit") //nolint:gochecknoglobals // a sentinel

// lineReader gives one line after another, without its line break.
type lineReader interface {
	readLine(prompt string) (string, error)
}

// prompt reads statements until the end of the input or \q. On a terminal an error is shown and the prompt goes on;
// otherwise the first error ends it, so that scripts notice.
func (e *env) prompt(ctx context.Context, s *session) error {
	lines, interactive := e.lines()
	if interactive {
		fmt.Fprintf(e.stdout, "tidemill %s  \\help for help\n", version())
	}
	var pending strings.Builder
	for {
		mark := "tidemill> "
		if strings.TrimSpace(pending.String()) != "" {
			mark = "       -> "
		}
		line, err := lines.readLine(mark)
		if errors.Is(err, io.EOF) && interactive {
			return nil // Ctrl-C or Ctrl-D: what was typed without an end is not run
		}
		if errors.Is(err, io.EOF) {
			return s.rest(ctx, pending.String())
		}
		if err != nil {
			return fmt.Errorf("read statements: %w", err)
		}
		err = s.line(ctx, &pending, line)
		switch {
		case errors.Is(err, errQuit):
			return nil
		case err != nil && interactive:
			fmt.Fprintln(e.stdout, diag.Render(err))
			pending.Reset()
		case err != nil:
			return err
		}
	}
}

// line takes one line in: a command, or a piece of a statement that runs when it is complete.
func (s *session) line(ctx context.Context, pending *strings.Builder, line string) error {
	if trimmed := strings.TrimSpace(line); strings.HasPrefix(trimmed, `\`) && !within(pending.String()) {
		return s.command(ctx, strings.TrimSuffix(trimmed, ";"))
	}
	pending.WriteString(line + "\n")
	text := pending.String()
	if !complete(text) {
		return nil
	}
	pending.Reset()
	ctx, done := s.e.cancelled(ctx)
	defer done()
	err := s.exec(ctx, &diag.Text{Name: "<prompt>", Body: text})
	if err != nil && ctx.Err() != nil {
		return diag.New(diag.Usage, "interrupted")
	}
	return err
}

// rest runs what stands before the end of the input without a semicolon.
func (s *session) rest(ctx context.Context, text string) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	ctx, done := s.e.cancelled(ctx)
	defer done()
	return aborted(ctx, s.exec(ctx, &diag.Text{Name: "<prompt>", Body: text}))
}

// command runs a line that begins with a backslash.
func (s *session) command(ctx context.Context, line string) error {
	name, arg, _ := strings.Cut(line, " ")
	arg = strings.TrimSpace(arg)
	switch name {
	case `\q`, `\quit`, `\exit`:
		return errQuit
	case `\?`, `\h`, `\help`:
		fmt.Fprint(s.e.stdout, promptHelp)
	case `\timing`:
		s.timing = !s.timing
		fmt.Fprintf(s.e.stderr, "timing is %s\n", map[bool]string{true: "on", false: "off"}[s.timing])
	case `\o`:
		for _, form := range outputForms() {
			if arg == form {
				s.opt.form = form
				return nil
			}
		}
		return diag.New(diag.Usage, "output form %q is not one of %s", arg, strings.Join(outputForms(), ", "))
	case `\d`:
		if arg == "" {
			return s.show("").print(s.e.stdout, s.opt.form)
		}
		return s.exec(ctx, &diag.Text{Name: "<prompt>", Body: "DESCRIBE " + arg})
	default:
		return diag.New(diag.Usage, "unknown command %s", name).WithHint(`\help lists them`)
	}
	return nil
}

// lines reads from standard input: with editing and history if it is a terminal.
func (e *env) lines() (r lineReader, interactive bool) {
	in, ok := e.stdin.(*os.File)
	if !ok || !e.tty || !term.IsTerminal(int(in.Fd())) {
		return &plainLines{bufio.NewReader(e.stdin)}, false
	}
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, e.stdout}, "")
	return &editedLines{terminal: t, fd: int(in.Fd())}, true
}

// plainLines reads lines of any length.
type plainLines struct{ in *bufio.Reader }

func (p *plainLines) readLine(string) (string, error) {
	line, err := p.in.ReadString('\n')
	if err != nil && line != "" && errors.Is(err, io.EOF) {
		return line, nil
	}
	return strings.TrimSuffix(line, "\n"), err //nolint:wrapcheck // prompt looks for io.EOF
}

// editedLines edits lines on a terminal, which is in raw mode only while a line is being edited, so that results
// print and interrupts work as ever.
type editedLines struct {
	terminal *term.Terminal
	fd       int
}

func (l *editedLines) readLine(prompt string) (string, error) {
	old, err := term.MakeRaw(l.fd)
	if err != nil {
		return "", fmt.Errorf("set up the terminal: %w", err)
	}
	defer func() { _ = term.Restore(l.fd, old) }() // the terminal is gone
	if width, height, err := term.GetSize(l.fd); err == nil {
		_ = l.terminal.SetSize(width, height) // lines wrap a little wrong
	}
	l.terminal.SetPrompt(prompt)
	return l.terminal.ReadLine() //nolint:wrapcheck // prompt looks for io.EOF
}

// complete reports whether a text ends in a semicolon that stands outside of strings, names and comments.
func complete(text string) bool {
	last := byte(0)
	for i := 0; i < len(text); {
		n := skipQuoted(text[i:])
		switch {
		case n < 0:
			return false
		case n > 0:
			if c := text[i]; c != '-' && c != '/' {
				last = c
			}
			i += n
			continue
		}
		if c := text[i]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			last = c
		}
		i++
	}
	return last == ';'
}

// within reports whether a text ends inside of a string, quoted name or comment, where a backslash is no command.
func within(text string) bool {
	for i := 0; i < len(text); {
		n := skipQuoted(text[i:])
		if n < 0 {
			return true
		}
		i += max(1, n)
	}
	return false
}

// skipQuoted returns how long the string, quoted name or comment at the start of s is: 0 for none there, -1 for one
// that is not closed yet.
func skipQuoted(s string) int {
	until := func(open int, closer string) int {
		at := strings.Index(s[open:], closer)
		if at < 0 {
			return -1
		}
		return open + at + len(closer)
	}
	switch {
	case strings.HasPrefix(s, "--"):
		return until(2, "\n")
	case strings.HasPrefix(s, "/*"):
		return until(2, "*/")
	case s[0] == '\'', s[0] == '"':
		return until(1, s[:1])
	case s[0] == '$':
		if at := strings.IndexByte(s[1:], '$'); at >= 0 && !strings.ContainsAny(s[1:1+at], " \t\n;'\"(),") {
			return until(at+2, s[:at+2])
		}
	}
	return 0
}
