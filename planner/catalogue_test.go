package planner

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
)

// TestBuiltinList compares the list that is built in with what the linked DuckDB says; -rewrite writes it anew.
func TestBuiltinList(t *testing.T) {
	conn := ducktest.Conn(t, duck.Options{})
	list, err := listFunctions(t.Context(), conn, true)
	require.NoError(t, err)
	lines := make([]string, len(list))
	for i, f := range list {
		line, err := json.Marshal(f)
		require.NoError(t, err)
		lines[i] = string(line)
	}
	want := "[\n" + strings.Join(lines, ",\n") + "\n]\n"
	if flag.Lookup("rewrite").Value.String() == "true" {
		require.NoError(t, os.WriteFile("functions.json", []byte(want), 0o600))
		return
	}
	require.Equal(t, want, string(builtinList), "another DuckDB is linked: run make generate")
}

// The catalogue has an application's own macros, and those of DuckDB whose bodies must be seen.
func TestCatalogue(t *testing.T) {
	conn := ducktest.Conn(t, duck.Options{})
	for _, sql := range []string{"CREATE MACRO Half(x, y) AS x / 2 + y", "CREATE MACRO rows_of(x) AS TABLE SELECT x",
		"CREATE MACRO other(x) AS sum(x)"} {
		_, err := conn.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	c, err := catalogueOf(t.Context(), conn, map[string]bool{"half": true, "rows_of": true})
	require.NoError(t, err)
	require.Equal(t, []macro{{params: []string{"x", "y"}, body: "((x / 2) + y)"}}, c.macros["half"])
	require.True(t, c.macros["rows_of"][0].table)
	require.NotContains(t, c.macros, "other", "it is another application's")
	own := len(c.macros)

	c, err = catalogueOf(t.Context(), nil, nil)
	require.NoError(t, err)
	require.Len(t, c.macros, own-2)
	require.Equal(t, []macro{{params: []string{"x"}, body: "geomean(x)"}}, c.macros["geometric_mean"], "which calls one that aggregates")
	require.NotContains(t, c.macros, "fdiv", "which shows nothing")
	require.True(t, c.aggregates["sum"] && c.volatile["random"])
	require.False(t, c.aggregates["abs"] || c.volatile["abs"] || c.volatile["error"])
}
