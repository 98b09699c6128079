package duck_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
)

func TestOnlyTheFirstInstanceOfAProcessIsTested(t *testing.T) {
	t.Parallel()
	opened := func() string {
		var seen strings.Builder
		db, err := duck.Open(t.Context(), duck.Options{Trace: func(sql string) { seen.WriteString(sql + "\n") }})
		require.NoError(t, err)
		require.NoError(t, db.Close())
		return seen.String()
	}
	opened()
	later := opened()
	require.Contains(t, later, "SET threads", "statements are seen")
	require.NotContains(t, later, "__selftest")
}
