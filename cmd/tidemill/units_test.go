package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/letters"
)

func TestTimesOfTheCommandLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-01-01":                "2026-01-01T00:00:00Z",
		"2026-01-01 12:30":          "2026-01-01T12:30:00Z",
		"2026-01-01 12:30:01.5":     "2026-01-01T12:30:01.5Z",
		"2026-01-01T12:30:00+01:00": "2026-01-01T11:30:00Z",
	} {
		at, err := parseTime("from", text)
		require.NoError(t, err, text)
		require.Equal(t, want, stamp(at))
	}
	for _, text := range []string{"", "yesterday", "2026-13-01", "01.02.2026"} {
		_, err := parseTime("from", text)
		require.Equal(t, diag.BadTime, diag.CodeOf(err), text)
	}
	_, _, err := parseRange("2026-01-02", "2026-01-01")
	require.Equal(t, diag.BadTime, diag.CodeOf(err))
}

func TestPeriods(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"1d": 24 * time.Hour, "6h": 6 * time.Hour,
		"1 day": 24 * time.Hour, "90 minutes": 90 * time.Minute} {
		d, err := parsePeriod("every", text, time.Second)
		require.NoError(t, err, text)
		require.Equal(t, want, d)
	}
	for _, text := range []string{"", "1", "1 month", "-1d", "10 ms"} {
		_, err := parsePeriod("every", text, time.Second)
		require.Equal(t, diag.BadTime, diag.CodeOf(err), text)
	}
}

func TestBackfillRefusesTooManySlots(t *testing.T) {
	t.Parallel()
	_, err := backfillFlags{from: "2026-01-01", to: "2027-01-01", every: "1 second"}.slots()
	require.ErrorContains(t, err, "31,536,000 slots")
	slots, err := backfillFlags{from: "2026-01-01", to: "2026-02-01", every: "1d"}.slots()
	require.NoError(t, err)
	require.Len(t, slots, 31)
}

func TestBackfillRefusesAShortSlot(t *testing.T) {
	t.Parallel()
	_, err := backfillFlags{from: "2026-01-01", to: "2026-01-03 12:00", every: "1d"}.slots()
	require.Equal(t, diag.BadTime, diag.CodeOf(err))
	require.Contains(t, diag.Render(err), "12h0m0s are left at its end")
	require.Contains(t, diag.Render(err), "--to 2026-01-03T00:00:00Z or --to 2026-01-04T00:00:00Z")
	_, err = backfillFlags{from: "2026-01-01", to: "2026-01-01 06:00", every: "1d"}.slots()
	require.Contains(t, diag.Render(err), "use --to 2026-01-02T00:00:00Z, or a shorter --every")
}

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	n, err := memoryLimit("2 GiB")
	require.NoError(t, err)
	require.Equal(t, int64(2<<30), n)
	n, err = memoryLimit("")
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, int64(memoryMin))
	for _, text := range []string{"much", "1 KiB", "-1"} {
		_, err := memoryLimit(text)
		require.Equal(t, diag.Usage, diag.CodeOf(err), text)
	}
}

func TestStatementsEndOutsideOfQuotes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"SELECT 1;\n":              true,
		"SELECT 1\n":               false,
		"SELECT ';'\n":             false,
		"SELECT ';';\n":            true,
		"SELECT 1; -- more\n":      true,
		"SELECT 1 -- ;\n":          false,
		"SELECT /* ; */ 1\n":       false,
		"SELECT /* open ; \n":      false,
		"SELECT $$ ; $$\n":         false,
		"SELECT $t$ ; $t$ ;\n":     true,
		"SELECT 'it''s;' || \";\"": false,
		"SELECT 4 / 2;":            true,
		"":                         false,
	} {
		require.Equal(t, want, complete(text), text)
	}
}

func TestTablesShowNoControlCharacters(t *testing.T) {
	t.Parallel()
	l := listing{columns: []string{"name", "rows_in"}, right: set("rows_in")}
	l.add("a\x1b[2Jb\n", 1)
	l.add("long name", 12345)
	require.Equal(t, "NAME       ROWS IN\na·[2Jb⏎          1\nlong name    12345\n", l.table())
}

func TestLettersGiveTheirOriginalBytes(t *testing.T) {
	t.Parallel()
	require.Equal(t, "x", string(letterBytes(letters.Letter{Payload: []byte("x"), Row: []byte(`{"a":1}`)})))
	require.Equal(t, `{"a":1}`, string(letterBytes(letters.Letter{Row: []byte(`{"a":1}`)})))
	require.Nil(t, letterBytes(letters.Letter{}))
}

func TestServerVersions(t *testing.T) {
	t.Parallel()
	require.True(t, atLeast("2.12.0", 2, 12))
	require.True(t, atLeast("v3.0", 2, 12))
	require.False(t, atLeast("2.11.9", 2, 12))
	require.False(t, atLeast("devel", 2, 12))
}

func TestEveryCommandSaysWhatItDoes(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv()
	for _, c := range e.root().Commands() {
		require.NotEmpty(t, c.Short, c.Name())
		require.False(t, strings.HasSuffix(c.Short, "."), c.Name())
	}
}

func TestLettersOfOneGroupHaveOneLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	box, err := letters.Open(vfs.OS{}, filepath.Join(dir, "dead_letters"), letters.Options{})
	require.NoError(t, err)
	var list []letters.Letter
	for i, kind := range []letters.Kind{letters.Late, letters.Dead, letters.Late} {
		list = append(list, letters.Letter{Source: "s", Batch: 1, Sequence: uint64(i), Kind: kind, Reason: "r"})
	}
	require.NoError(t, box.Write(1, list))
	l := &listing{}
	require.NoError(t, countLetters(l, "q", dir, &letterFilter{batch: -1, kind: "all"}))
	require.Len(t, l.rows, 2)
	require.Equal(t, []any{"q", int64(1), "s", string(letters.Late), 2, 0, "r"}, l.rows[0])
}

func TestQueryThatHasNotBegun(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	dir := filepath.Join(data, "q")
	c, _, err := checkpoint.Open(t.Context(), checkpoint.Options{FS: vfs.OS{}, Dir: dir, Clock: clock.System{}, Lock: checkpoint.OSLock},
		checkpoint.Meta{Name: "q"})
	require.NoError(t, err)
	require.NoError(t, c.Close(false))
	require.NoError(t, os.Remove(filepath.Join(dir, metaFile)))
	for _, find := range []func(string, string) (string, error){queryDir, queryThere} {
		_, err = find(data, "q")
		require.Equal(t, diag.Usage, diag.CodeOf(err))
		require.ErrorContains(t, err, `query "q" has not begun`)
	}
	names, err := queriesOf(data)
	require.NoError(t, err)
	require.Empty(t, names)
}
