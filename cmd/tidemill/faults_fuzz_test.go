package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
)

// sqlSeeds are the SQL files of the examples and of the scripts.
func sqlSeeds(f *testing.F) []string {
	f.Helper()
	var seeds []string
	examples, err := filepath.Glob("../../examples/*/*.sql")
	require.NoError(f, err)
	more, err := filepath.Glob("../../examples/*.sql")
	require.NoError(f, err)
	for _, path := range append(examples, more...) {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		seeds = append(seeds, string(data))
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	require.NoError(f, err)
	part := regexp.MustCompile(`(?ms)^-- (\S+) --\n(.*?)(?:^-- |\z)`)
	for _, path := range scripts {
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		for at := 0; ; {
			m := part.FindSubmatchIndex(data[at:])
			if m == nil {
				break
			}
			if strings.HasSuffix(string(data[at+m[2]:at+m[3]]), ".sql") {
				seeds = append(seeds, string(data[at+m[4]:at+m[5]]))
			}
			at += m[5]
		}
	}
	require.NotEmpty(f, seeds)
	return seeds
}

var sqlToken = regexp.MustCompile(`(?s)\s+|\w+|'[^']*'|.`)

// mutated deletes, doubles and swaps tokens of a text: three bytes say what to do, and where.
func mutated(text string, edits []byte) string {
	toks := sqlToken.FindAllString(text, -1)
	for ; len(edits) >= 3 && len(toks) > 1; edits = edits[3:] {
		at := (int(edits[1])<<8 | int(edits[2])) % len(toks)
		switch other := (at + 1 + int(edits[0])/3) % len(toks); edits[0] % 3 {
		case 0:
			toks = slices.Delete(toks, at, at+1)
		case 1:
			toks = slices.Insert(toks, at, toks[at])
		case 2:
			toks[at], toks[other] = toks[other], toks[at]
		}
	}
	return strings.Join(toks, "")
}

// FuzzFaults lints texts that are nearly right: whatever is wrong with one is told in coded faults, each once and at a
// place in the text, and a text is refused if and only if there are any.
func FuzzFaults(f *testing.F) {
	seeds := sqlSeeds(f)
	f.Add(uint16(0), []byte{0, 0, 9})
	f.Add(uint16(1), []byte{1, 0, 20, 2, 0, 31})
	f.Add(uint16(2), []byte{5, 0, 77, 0, 1, 4, 1, 2, 8})
	f.Fuzz(func(t *testing.T, seed uint16, edits []byte) {
		body := mutated(seeds[int(seed)%len(seeds)], edits[:min(len(edits), 12)])
		e := &env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, clock: clock.System{},
			getenv: func(string) (string, bool) { return "", false }}
		text := &diag.Text{Name: "fuzz.sql", Body: body}
		script, err := e.script(t.Context(), text, registry(e))
		own := diag.All(err)
		if err == nil {
			_, err = e.plans(t.Context(), script.App, script.App.Queries)
		} else if script != nil && script.Rest != nil {
			err = e.furtherFaults(t.Context(), script.Rest, err)
		}
		if err == nil {
			return
		}
		require.NoError(t, uncoded(err), body)
		faults := diag.All(err)
		require.NotEmpty(t, faults, body)
		for i, one := range faults {
			require.NotNil(t, one.Source, "%s\n%s", one, body)
			require.GreaterOrEqual(t, one.Span.Start, 0, "%s\n%s", one, body)
			require.LessOrEqual(t, one.Span.Start, one.Span.End, "%s\n%s", one, body)
			require.LessOrEqual(t, one.Span.End, len(body), "%s\n%s", one, body)
			require.False(t, faults[:i].Has(one), "told twice: %s\n%s", one, body)
		}
		for _, one := range own {
			require.True(t, faults.Has(one), "lost: %s\n%s", one, body)
		}
	})
}

// uncoded returns the part of an error that is no fault of the text.
func uncoded(err error) error {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case *diag.Error, diag.List:
		return nil
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if found := uncoded(one); found != nil {
				return found
			}
		}
		return nil
	}
	if diag.All(err) != nil {
		return nil //nolint:nilerr // all of it has codes
	}
	return err
}
