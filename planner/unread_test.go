package planner_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// TestExplainSaysWhatIsLeftInFiles asks that columns that nobody reads are told apart by what becomes of them.
func TestExplainSaysWhatIsLeftInFiles(t *testing.T) {
	for what, options := range map[string]stream.Options{
		"checked only":      {"path": "in/*", "format": "ndjson"},
		"left in the files": {"path": "in/*", "format": "parquet"},
	} {
		app := testApp(t, "SELECT value FROM clicks", nil, nil)
		app.Sources[1].Connector, app.Sources[1].Options = "file", options
		p, err := planner.Build(t.Context(), app, &planner.Query{Name: "q", Body: app.Text.Body}, binder(t))
		require.NoError(t, err)
		require.Contains(t, p.Explain(), "columns of clicks that are "+what+": user_id, ts\n")
	}
	require.True(t, (&planner.Source{Connector: "file", Options: stream.Options{"path": "in/*.parquet", "format": "json"}}).Parquet())
	require.False(t, (&planner.Source{Connector: "jetstream", Options: stream.Options{"format": "parquet"}}).Parquet())
}
