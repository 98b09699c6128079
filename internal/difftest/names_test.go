package difftest_test

import (
	"fmt"
	"regexp"
	"strings"

	"pgregory.net/rapid"
)

// names are queries whose columns and relations have names that are words of SQL, that need quotes, or that a plan may use itself.
func names() []shape {
	return []shape{
		{"names", 1, 3, func(g *gen) { g.named(oneSource()) }},
		{"names-join", 2, 2, func(g *gen) { g.named(twoSources()) }},
	}
}

// form is a body over views v1 and v2 with columns ID, K, V, TS and S, in aliases X and Y, and its modes.
type form struct {
	modes string
	late  lateness
	text  string
}

func oneSource() []form {
	return []form{
		{"au", neverLate, "SELECT ID, V + 1 AS K, S AS V FROM v1 X WHERE X.V > 7"},
		{"au", neverLate, "SELECT X.{*} FROM v1 X"},
		{"au", neverLate, "SELECT * EXCLUDE (K{pos}) REPLACE (V * 2 AS V) FROM v1 WHERE K IS NOT NULL"},
		{"uc", neverLate, "SELECT K, count(*) AS S, sum(V) AS V, max(ID) AS ID FROM v1 X GROUP BY K HAVING count(*) < 9"},
		{"uc", neverLate, "SELECT K AS V, V % 2 AS K, last(ID{ord}) AS ID FROM v1 GROUP BY 1, 2"},
		{"uc", neverLate, "SELECT K, list(V ORDER BY ID) AS V, count(DISTINCT S) AS S FROM v1 X GROUP BY X.K"},
		{"auc", lateWindows, "SELECT window_start AS TS, K, sum(V) AS V, first(S{ord}) AS S FROM tumble(v1, TS, INTERVAL '5 seconds') X GROUP BY window_start, K"},
		{"auc", lateWindows, "SELECT window_end AS V, K AS S, median(V) AS K, count(*) AS ID FROM hop(v1, TS, INTERVAL '5 seconds', INTERVAL '10 seconds') GROUP BY ALL"},
		{"auc", lateRows, "SELECT window_start, window_end, K, count(*) AS V, max(S) AS S FROM session(v1, TS, K, INTERVAL '5 seconds') X GROUP BY ALL"},
		{"au", lateRows, "SELECT DISTINCT K, S AS V FROM v1 X"},
		{"u", neverLate, "SELECT K, ID, V, S FROM v1 X QUALIFY row_number() OVER (PARTITION BY K ORDER BY V DESC, ID) = 1"},
		{"u", neverLate, "SELECT K, V AS ID, ID AS S, row_number() OVER (PARTITION BY K ORDER BY V, X.ID) AS V FROM v1 X QUALIFY row_number() OVER (PARTITION BY K ORDER BY V, X.ID) <= 2"},
		{"a", lateWindows, "SELECT window_end AS TS, K, ID FROM tumble(v1, TS, INTERVAL '5 seconds') QUALIFY row_number() OVER (PARTITION BY window_end, K ORDER BY V DESC, ID) <= 1"},
		{"a", lateRows, "SELECT ID, K, lag(V) OVER (PARTITION BY K ORDER BY TS{,ord}) AS V FROM v1 WHERE TS IS NOT NULL"},
		{"uc", neverLate, "SELECT K, S AS ID, grouping(K, S) AS V, count(*) AS S FROM v1 GROUP BY CUBE (K, S)"},
		{"uc", neverLate, "SELECT V AS K, max(S) AS V, count(*) AS S FROM (SELECT K, count(*) AS V, sum(V) AS S FROM v1 GROUP BY K) X GROUP BY X.V"},
		{"au", neverLate, "SELECT X.ID, m.tag AS K, r.label AS V FROM v1 X LEFT JOIN m ON X.K = m.k LEFT JOIN r ON r.k = X.K"},
		{"au", neverLate, "SELECT ID, (SELECT max(tag) FROM m WHERE m.k = X.K) AS V FROM v1 X WHERE K IN (SELECT k FROM r) OR V > 7"},
		{"a", neverLate, "SELECT ID, K AS S FROM v1 X WHERE V > 7{ord} LIMIT 4"},
		{"uc", neverLate, "SELECT count(*) AS V, sum(V) AS S, first(ID{ord}) AS K FROM v1 X WHERE V > 20"},
	}
}

func twoSources() []form {
	return []form{
		{"au", lateRows, "SELECT X.ID, Y.ID AS V, Y.V AS K, X.S FROM v1 X JOIN v2 Y ON X.K = Y.K AND X.V < Y.V"},
		{"au", lateRows, "SELECT X.ID AS Y, Y.ID AS X FROM v1 X, v2 Y WHERE X.K = Y.K"},
		{"a", lateRows, "SELECT X.ID, X.V AS S, Y.ID AS V FROM v1 X LEFT JOIN v2 Y ON X.K = Y.K AND Y.TS BETWEEN X.TS AND X.TS + INTERVAL '5 seconds'"},
		{"a", lateRows, "SELECT X.ID, Y.ID AS V, Y.S FROM v1 X FULL JOIN v2 Y ON X.K = Y.K AND Y.TS = X.TS"},
		{"au", lateRows, "SELECT K, X.ID, Y.ID AS V FROM v1 X JOIN v2 Y USING (K)"},
		{"au", neverLate, "SELECT ID, K, V FROM v1 X UNION ALL SELECT V, K, ID FROM v2 Y WHERE Y.V > 7"},
		{"u", neverLate, "SELECT K, V FROM v1 EXCEPT SELECT K, V FROM v2 X"},
		{"uc", neverLate, "SELECT X.K, X.V, Y.V AS S FROM (SELECT K, count(*) AS V FROM v1 GROUP BY K) X JOIN (SELECT K, max(V) AS V FROM v2 GROUP BY K) Y ON X.K = Y.K"},
		{"auc", lateRows, "WITH j AS (SELECT X.TS AS TS, X.K AS V, Y.V AS S FROM v1 X JOIN v2 Y ON X.K = Y.K AND Y.TS BETWEEN X.TS - INTERVAL '5 seconds' AND X.TS + INTERVAL '5 seconds') " +
			"SELECT window_start, V AS K, sum(S) AS S FROM tumble(j, TS, INTERVAL '10 seconds') X GROUP BY ALL"},
	}
}

// named draws a form and the names in it.
func (g *gen) named(forms []form) {
	f := rapid.SampledFrom(forms).Draw(g.t, "form")
	all := []string{"g", "s", "n", "i", "r", "t", "l", "a", "src", "p", "select", "Order", "x y", `q"q`, "ä", "m", "k", "v", "id", "key", "d", "o", "c", "e", "q", "out", "end", "1a"}
	cols := rapid.Permutation(all).Draw(g.t, "names")[:5]
	alias := rapid.Permutation(all).Draw(g.t, "aliases")[:2]
	quoted := func(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
	words := map[string]string{"X": quoted(alias[0]), "Y": quoted(alias[1]),
		"ID": quoted(cols[0]), "K": quoted(cols[1]), "V": quoted(cols[2]), "TS": quoted(cols[3]), "S": quoted(cols[4])}
	for i, s := range g.sources[:min(len(g.sources), 2)] {
		g.q.before = append(g.q.before, fmt.Sprintf("CREATE VIEW v%d AS SELECT id AS %s, k AS %s, v AS %s, ts AS %s, s AS %s{pos} FROM %s;", i+1, quoted(cols[0]), quoted(cols[1]),
			quoted(cols[2]), quoted(cols[3]), quoted(cols[4]), s.name))
	}
	g.set(f.modes, f.late, "%s", replaceWords(f.text, words))
}

var wholeWord = regexp.MustCompile(`\w+`)

// replaceWords replaces whole words.
func replaceWords(text string, by map[string]string) string {
	return wholeWord.ReplaceAllStringFunc(text, func(word string) string {
		if to, known := by[word]; known {
			return to
		}
		return word
	})
}
