package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/difftest"
)

func TestChaosShowsADifference(t *testing.T) {
	t.Parallel()
	runs := []difftest.ChaosRun{{Run: 1, Batches: 2, In: 5, Out: 2}, {Run: 2, Batches: 7, Restarts: 1, In: 5, Out: 1,
		Diff: "  - missing [1]\n", Case: "name: chaos-q-9-2\n"}}
	e, stdout, stderr := testEnv()
	var code exitError
	require.ErrorAs(t, e.tellChaos("table", 9, runs), &code)
	require.Equal(t, diag.ExitFailed, code.exit)
	require.Contains(t, stdout.String(), "  2        7         1        0   5    1     0     0     0  differs\n")
	require.Contains(t, stdout.String(), "run 2 differs: the stream's answer is not the batch plan's\n  - missing [1]\n")
	require.Contains(t, stdout.String(), "--seed 9 --runs 2")
	require.Contains(t, stdout.String(), "name: chaos-q-9-2")
	require.Empty(t, stderr.String())

	e, stdout, stderr = testEnv()
	require.ErrorAs(t, e.tellChaos("jsonl", 9, runs), &code)
	require.Contains(t, stdout.String(), `"result":"differs","seed":9,"reason":"","diff":"  - missing [1]\n","case":"name: chaos-q-9-2\n"}`)
	require.Contains(t, stderr.String(), "run 2 differs")

	e, stdout, _ = testEnv()
	runs[1] = difftest.ChaosRun{Run: 2, Skipped: "because"}
	require.NoError(t, e.tellChaos("table", 9, runs))
	require.Contains(t, stdout.String(), "not compared\nok: 1 run, stream = batch; 1 more not compared: because\n")
}

func TestFormatsOfSamples(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{"a.csv": "csv", "a.csv.gz": "csv", "a.ndjson": "ndjson", "a.jsonl": "ndjson",
		"a.json": "json", "a.arrow": "arrow", "a.parquet": ""} {
		require.Equal(t, want, formatOf(file), file)
	}
}
