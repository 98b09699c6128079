package sources_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/sources"
	"github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

func TestDefaultConnectorsAreWhole(t *testing.T) {
	t.Parallel()
	all := sources.Default(memory.NewHub(), nil)
	require.Len(t, all, 4)
	for name, c := range all {
		require.Equal(t, name, c.Spec.Name)
		require.NotNil(t, c.Open)
		require.NotEmpty(t, c.Spec.Summary)
		require.NotEmpty(t, c.Spec.Guarantee)
		require.Contains(t, c.Spec.Example, "connector = '"+name+"'")
		seen := map[string]bool{}
		for _, f := range append(stream.SourceFields(c.Typed), c.Spec.Fields...) {
			require.False(t, seen[f.Name], "%s: option %q stands twice", name, f.Name)
			seen[f.Name] = true
			require.NotEmpty(t, f.Summary)
		}
	}
}
