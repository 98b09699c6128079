package planner_test

import (
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

func binder(t *testing.T) *duck.Conn {
	t.Helper()
	return ducktest.Conn(t, duck.Options{Sealed: true, Threads: 1})
}

// words are the words of the text that faults point at.
func words(err error) []string {
	var out []string
	for _, f := range diag.All(err) {
		out = append(out, f.Source.Body[f.Span.Start:f.Span.End])
	}
	return out
}

func TestCheckViewTellsAllFaults(t *testing.T) {
	conn := binder(t)
	for body, want := range map[string][]string{
		"SELECT nix, nofn(id), random() AS r FROM orders": {"nix", "nofn", "random"},
		"SELECT id, nofn(id) FROM nowhere":                {"nofn", "nowhere"},
		"SELECT id, id + 1 AS id FROM orders ORDER BY id": nil, // what may be right in a query
		"SELECT country FROM users":                       nil,
	} {
		v := &planner.View{Name: "v", Body: body}
		app := testApp(t, body, []*planner.View{v}, nil)
		require.Equal(t, want, sorted(words(planner.CheckView(t.Context(), app, v, conn))), body)
	}
}

func sorted(words []string) []string {
	slices.Sort(words)
	return words
}

// TestWhatIsDoubtfulHasNoConsequences plans over a source with a column of an unknown type, one of which not all columns
// are known, and names that are lost.
func TestWhatIsDoubtfulHasNoConsequences(t *testing.T) {
	conn := binder(t)
	for body, want := range map[string][]string{
		"SELECT nix, value + 1 AS v FROM clicks WHERE value.x[1] > 'a'":                 {"nix"},
		"SELECT max(v) || [1] AS m FROM (SELECT value AS v FROM clicks) GROUP BY nix":   {"nix"},
		"SELECT user_id, count(*) AS n FROM clicks GROUP BY user_id":                    nil, // the watermark may be missing
		"SELECT user_id || [1] AS u FROM clicks":                                        {"user_id"},
		"SELECT k, nofn(more) AS f FROM half":                                           {"nofn"},
		"SELECT k, nofn(more) AS f FROM gone":                                           {"nofn"},
		"SELECT gone(id) + 1 AS g, nix FROM orders":                                     {"nix"},
		"SELECT o.id, g.k, o.nix FROM orders o JOIN gone(1) g ON g.k = o.id":            {"o"},
		"SELECT window_end, nofn(1) AS f FROM tumble(gone, ts, INTERVAL '1 minute')":    {"nofn"},
		"WITH gone AS (SELECT id FROM orders) SELECT id, nix FROM gone":                 {"nix"},
		"SELECT user_id, count(*) AS n FROM orders GROUP BY user_id":                    {"user_id"}, // reads nothing doubtful
		"SELECT user_id FROM clicks UNION ALL SELECT * FROM half UNION ALL FROM gone":   nil,
		"SELECT value, window_end FROM tumble(clicks, value, INTERVAL '1 minute')":      nil,
		"SELECT user_id, nix FROM clicks UNION ALL SELECT user_id, value FROM clicks":   {"nix"},
		"SELECT c.user_id FROM clicks c JOIN orders o ON o.user_id = c.user_id":         nil,
		"SELECT id, random() AS r, uuid() AS u FROM orders USING SAMPLE 10%":            {"id", "random", "uuid"},
		"SELECT id, sum(id) OVER () AS s, max(id) OVER () AS m, random() r FROM orders": {"sum", "max", "random"},
	} {
		app := testApp(t, body, nil, nil)
		app.Lost = []string{"Gone"}
		clicks := app.Sources[1]
		clicks.Doubtful = true
		clicks.Columns[2].Column = stream.Column{Name: "value", Type: planner.UnknownType, Arrow: arrow.Null}
		app.Sources = append(app.Sources, &planner.Source{Name: "half", Open: true, Doubtful: true})
		q := &planner.Query{Name: "q", Body: body, Mode: stream.Append}
		_, err := planner.Build(t.Context(), app, q, conn)
		assert.Equal(t, want, words(err), body)
	}
}

func TestBindFaultsTellsAll(t *testing.T) {
	conn := binder(t)
	const sql = "SELECT nofn(1) + nix AS a, lost(nofn(2)) AS c"
	faults, err := planner.BindFaults(t.Context(), conn, sql, []string{"lost"})
	require.NoError(t, err)
	var at []string
	for _, f := range faults {
		at = append(at, sql[f.Position:f.Position+3])
	}
	require.Equal(t, []string{"nof", "nix", "nof"}, at)
	_, err = planner.BindFaults(t.Context(), conn, "SELECT 1 +", nil)
	require.Error(t, err)
	faults, err = planner.BindFaults(t.Context(), conn, "SELECT 1 AS one", nil)
	require.NoError(t, err)
	require.Empty(t, faults)
}
