package planner

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestInexact asks which types the state of seen values can not hold.
func TestInexact(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"TIMESTAMP_NS", "TIMESTAMP_S[]", "HUGEINT", "UHUGEINT", "MAP(HUGEINT, INTEGER)", "UNION(a INTEGER)"} {
		require.True(t, inexact(typ), typ)
	}
	for _, typ := range []string{"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "BIGINT", "DECIMAL(38,0)", "VARCHAR[]", "UUID"} {
		require.False(t, inexact(typ), typ)
	}
}
