package nexmark_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/internal/duck"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// TestTheWholeSuiteIsHere asks for every query, in order, in the mode that the suite's results call for.
func TestTheWholeSuiteIsHere(t *testing.T) {
	t.Parallel()
	var names, update []string
	for _, q := range queries(t) {
		names = append(names, q.Name)
		if q.Mode == stream.Update {
			update = append(update, q.Name)
		}
		require.Equal(t, q.Mode == stream.Update, len(q.Keys) > 0, q.Name)
		require.Equal(t, q.Clock, q.Stable != "", q.Name)
	}
	require.Equal(t, strings.Fields("q0 q1 q2 q3 q4 q5 q5_join q6 q7 q7_join q8 q9 q10 q11 q12 q13 q14 q15 "+
		"q16 q17 q18 q19 q20 q21 q22 q23"), names)
	require.Equal(t, strings.Fields("q4 q6 q9 q12 q15 q16 q17 q18 q19"), update)
}

// TestScriptsParse reads every query as the engine does and compares what it finds with what Query says.
func TestScriptsParse(t *testing.T) {
	t.Parallel()
	reg := stream.Registry{
		Sources: map[string]stream.SourceConnector{"memory": sourcemem.Connector(sourcemem.NewHub())},
		Sinks:   map[string]stream.SinkConnector{"memory": sinkmem.Connector(sinkmem.NewHub())},
	}
	for _, q := range queries(t) {
		app := parseScript(t, reg, q)
		require.Len(t, app.Queries, 1)
		require.Equal(t, q.Name, app.Queries[0].Name)
		require.Equal(t, q.Mode, app.Queries[0].Mode, q.Name)
		require.Equal(t, []string{"result"}, app.Queries[0].Sinks)
		require.Equal(t, q.Body, strings.TrimSpace(app.Queries[0].Body), q.Name)
		require.Len(t, app.Sources, len(nexmark.Kinds()))
		for i, k := range nexmark.Kinds() {
			src := app.Sources[i]
			require.Equal(t, k.String(), src.Name)
			require.Equal(t, "dateTime", src.Watermark.Column)
			require.InDelta(t, 4, src.Watermark.Delay.Seconds(), 0)
			schema := nexmark.Schema(k)
			require.Len(t, src.Columns, schema.NumFields())
			for c, f := range schema.Fields() {
				require.Equal(t, f.Name, src.Columns[c].Name)
				require.Equal(t, f.Type.String(), src.Columns[c].Arrow.String(), f.Name)
			}
		}
	}
}

// rules hold for the results of any seed. Each is a SELECT of one BOOLEAN over tables that are named as the
// queries; where it can be, the other side is found in another way than the query's own.
func rules() []string {
	const inLife = `FROM auction a
		JOIN bid b ON a.id = b.auction AND b.dateTime BETWEEN a.dateTime AND a.expires`
	const panes = `WITH p AS (
		SELECT auction, epoch_us(dateTime) // 2000000 AS pane, count(*) AS n FROM bid GROUP BY ALL),
		c AS (SELECT auction, pane - k AS w, sum(n)::BIGINT AS num FROM p, range(5) AS r(k) GROUP BY ALL)
		SELECT auction, num, make_timestamp((w * 2000000)::BIGINT) AS ws FROM c
		QUALIFY num = max(num) OVER (PARTITION BY w)`
	rows := func(list ...string) []string {
		out := make([]string, len(list))
		for i, q := range list {
			out[i] = "SELECT (SELECT count(*) FROM " + q + ") = (SELECT count(*) FROM bid)"
		}
		return out
	}
	return append(rows("q0", "q1", "q10", "q13", "q22"),
		"SELECT (SELECT sum(total_bids) FROM q15) = (SELECT count(*) FROM bid)",
		"SELECT (SELECT sum(rank1_bids + rank2_bids + rank3_bids) FROM q15) = (SELECT count(*) FROM bid)",
		"SELECT (SELECT sum(total_bids) FROM q16) = (SELECT count(*) FROM bid)",
		"SELECT (SELECT sum(total_bids) FROM q17) = (SELECT count(*) FROM bid)",
		"SELECT (SELECT sum(sum_price) FROM q17) = (SELECT sum(price) FROM bid)",
		"SELECT (SELECT sum(bid_count) FROM q11) = (SELECT count(*) FROM bid)",
		"SELECT (SELECT sum(bid_count) FROM q12) = (SELECT count(*) FROM bid)",
		"SELECT (SELECT count(*) FROM q18) = (SELECT count(DISTINCT (bidder, auction)) FROM bid)",
		`SELECT (SELECT count(*) FROM q19) =
			(SELECT sum(least(10, n)) FROM (SELECT count(*) AS n FROM bid GROUP BY auction))`,
		"SELECT (SELECT count(*) FROM q9) = (SELECT count(DISTINCT a.id) "+inLife+")",
		"SELECT (SELECT count(*) FROM q6) = (SELECT count(*) FROM q9)",
		"SELECT bool_and(q9.price = w.price) FROM q9 JOIN (SELECT a.id, max(b.price) AS price "+inLife+
			" GROUP BY a.id) AS w USING (id)",
		`SELECT count(*) = 0 FROM (SELECT category, avg FROM q4 EXCEPT ALL
			SELECT category, sum(price)::BIGINT // count(*) FROM q9 GROUP BY category)`,
		"SELECT count(*) <= 5 FROM q4",
		`SELECT count(*) = 0 FROM (SELECT auction, num, window_start FROM q5 EXCEPT ALL (`+panes+`))`,
		`SELECT (SELECT count(*) FROM q5) = (SELECT count(*) FROM (`+panes+`))`,
		"SELECT count(*) = 0 FROM (FROM q5 EXCEPT ALL FROM q5_join)",
		"SELECT count(*) = 0 FROM (FROM q5_join EXCEPT ALL FROM q5)",
		`SELECT (SELECT count(DISTINCT epoch_us(dateTime) // 10000000) FROM q7) =
			(SELECT count(DISTINCT epoch_us(dateTime) // 10000000) FROM bid)`,
		"SELECT count(*) = 0 FROM (FROM q7 EXCEPT ALL FROM q7_join)",
		`SELECT coalesce(bool_and(epoch_us(dateTime) % 10000000 = 0), true)
			FROM (FROM q7_join EXCEPT ALL FROM q7)`,
		`SELECT count(*) = 0 FROM (SELECT id, starttime FROM q8 EXCEPT ALL
			SELECT id, make_timestamp((epoch_us(dateTime) // 10000000 * 10000000)::BIGINT) FROM person)`,
		`SELECT (SELECT count(*) FROM q8) = (SELECT count(DISTINCT p.id) FROM person p
			JOIN auction a ON p.id = a.seller
			AND epoch_us(p.dateTime) // 10000000 = epoch_us(a.dateTime) // 10000000)`,
		`SELECT (SELECT count(*) FROM q14) + (SELECT count(*) FROM bid
			WHERE NOT (908 * price > 1000000000 AND 908 * price < 50000000000)) = (SELECT count(*) FROM bid)`,
		`SELECT count(*) = 0 FROM (SELECT auction, bidder, price, channel, url, bid_dateTime, bid_extra FROM q20
			EXCEPT ALL FROM bid)`,
		`SELECT (SELECT count(*) FROM q20) =
			(SELECT count(*) FROM bid WHERE auction IN (SELECT id FROM auction WHERE category = 10))`,
		`SELECT (SELECT count(*) FROM q21) =
			(SELECT count(*) FROM bid
			WHERE channel NOT LIKE 'channel-%' OR url LIKE '%&channel\_id=%' ESCAPE '\')`,
		`SELECT (SELECT count(*) FROM q23) = (SELECT coalesce(sum(s.n), 0) FROM bid b
			JOIN (SELECT seller, count(*) AS n FROM auction GROUP BY seller) AS s ON s.seller = b.bidder
			WHERE b.bidder IN (SELECT id FROM person))`,
		"SELECT coalesce(bool_and(person_id = bidder AND seller = bidder), true) FROM q23",
		"SELECT bool_and(value = (auction % 10000)::VARCHAR) FROM q13",
		`SELECT (SELECT count(*) FROM q3) = (SELECT count(*) FROM auction WHERE category = 10 AND seller IN
			(SELECT id FROM person WHERE state IN ('OR', 'ID', 'CA')))`,
		`SELECT (SELECT count(*) FROM q2) = (SELECT count(*) FROM bid WHERE auction // 123 * 123 = auction)`,
		`SELECT (SELECT count(*) FROM q11) = (SELECT count(*) FROM (SELECT dateTime - lag(dateTime) OVER
			(PARTITION BY bidder ORDER BY dateTime) AS pause FROM bid)
			WHERE pause IS NULL OR pause > INTERVAL 10 SECOND)`,
	)
}

// TestResultsObeyTheRules checks what must be so whatever the seed, the rate and the order of events.
func TestResultsObeyTheRules(t *testing.T) {
	conn := openDuck(t)
	list := queries(t)
	check(t, 10, func(rt *rapid.T) {
		cfg := nexmark.Config{
			Seed:           rapid.Uint64().Draw(rt, "seed"),
			Rate:           rapid.SampledFrom([]int64{20, 200, 10_000}).Draw(rt, "rate"),
			OutOfOrder:     rapid.SampledFrom([]int64{1, 30}).Draw(rt, "group"),
			FlinkNumbering: rapid.Bool().Draw(rt, "numbering"),
			FlinkBidders:   rapid.Bool().Draw(rt, "bidders"),
		}
		from := rapid.Int64Range(0, 200_000).Draw(rt, "from")
		g, err := nexmark.New(cfg)
		require.NoError(rt, err)
		oracle, err := nexmark.NewOracle(t.Context(), conn)
		require.NoError(rt, err)
		require.NoError(rt, oracle.Load(t.Context(), g, from, from+1_500))
		for _, q := range list {
			if q.Setup != "" {
				_, err := conn.Exec(t.Context(), q.Setup)
				require.NoError(rt, err)
			}
			_, err := conn.Exec(t.Context(), "CREATE OR REPLACE TEMP TABLE "+q.Name+" AS\n"+q.Body)
			require.NoError(rt, err, q.Name)
		}
		for _, rule := range rules() {
			requireRule(rt, conn, t, rule)
		}
	})
}

func requireRule(rt *rapid.T, conn *duck.Conn, t *testing.T, rule string) {
	rt.Helper()
	rows, err := conn.Rows(t.Context(), rule)
	require.NoError(rt, err, rule)
	require.Equal(rt, "[[true]]", fmt.Sprint(rows), rule)
}
