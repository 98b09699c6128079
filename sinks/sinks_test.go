package sinks

import (
	"io"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/sinks/duckdb"
	"github.com/tidemill/tidemill/sinks/memory"
	"github.com/tidemill/tidemill/stream"
)

// TestSpecs holds every connector's description to what lint and the generated docs need.
func TestSpecs(t *testing.T) {
	t.Parallel()
	all := Default(Deps{Console: io.Discard, Files: duckdb.NewPool(duck.Options{}), Memory: memory.NewHub()})
	for name, c := range all {
		require.Equal(t, name, c.Spec.Name)
		require.NotEmpty(t, c.Modes, name)
		require.NotNil(t, c.Open, name)
		require.NotEmpty(t, c.Spec.Summary, name)
		require.NotEmpty(t, c.Spec.Guarantee, name)
		require.Contains(t, c.Spec.Example, "connector = '"+name+"'")
		seen := map[string]bool{}
		for _, f := range c.Spec.Fields {
			require.False(t, seen[f.Name], "%s: option %s stands twice", name, f.Name)
			seen[f.Name] = true
			require.NotEmpty(t, f.Summary, "%s: %s", name, f.Name)
			require.False(t, f.Required && f.Default != "", "%s: %s", name, f.Name)
			switch f.Type { //nolint:exhaustive // the others take any text
			case stream.Int:
				if f.Default != "" {
					_, err := strconv.ParseInt(f.Default, 10, 64)
					require.NoError(t, err)
				}
			case stream.Bool:
				require.Contains(t, []string{"", "true", "false"}, f.Default)
			case stream.Enum:
				require.NotEmpty(t, f.Values, "%s: %s", name, f.Name)
				require.True(t, f.Default == "" || slices.Contains(f.Values, f.Default), "%s: %s", name, f.Name)
			}
		}
	}
}
