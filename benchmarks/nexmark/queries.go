package nexmark

import (
	"embed"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/stream"
)

//go:embed queries/*.sql
var files embed.FS //nolint:gochecknoglobals // the embedded queries

// Query is one query of the suite.
type Query struct {
	Name  string      // of its CREATE QUERY: q0 to q23, and q5_join and q7_join
	Mode  stream.Mode // append or update
	Keys  []string    // in update mode, the columns that name a row of the result
	Reads []Kind      // the streams it reads
	Setup string      // the statements before CREATE QUERY, plain DuckDB; "" for none
	Text  string      // CREATE QUERY
	Body  string      // its SELECT, plain DuckDB but for the window macros

	// Clock says that the body reads now(): the result depends on when batches ran, and Stable says what of
	// it does not. It is a SELECT over the result as a table named result; "" stands for the whole result.
	Clock  bool
	Stable string
}

// Queries returns the queries in order. q5_join and q7_join stand behind q5 and q7, which ask the same with
// fewer operators. The CEP queries of the suite are not among them.
func Queries() ([]Query, error) {
	list := append(streamed(), kept()...)
	ordered := make([]Query, 0, len(list))
	entries, err := files.ReadDir("queries")
	if err != nil {
		return nil, fmt.Errorf("list the queries: %w", err)
	}
	for _, entry := range entries {
		base, _ := strings.CutSuffix(entry.Name(), ".sql")
		for _, q := range list {
			if fileOf(q.Name) != base {
				continue
			}
			if err := q.read(); err != nil {
				return nil, err
			}
			ordered = append(ordered, q)
		}
	}
	if len(ordered) != len(list) {
		return nil, fmt.Errorf("%d of %d queries have a file", len(ordered), len(list))
	}
	return ordered, nil
}

// streamed are the queries in append mode.
func streamed() []Query {
	bids := []Kind{KindBid}
	return []Query{
		{Name: "q0", Reads: bids},
		{Name: "q1", Reads: bids},
		{Name: "q2", Reads: bids},
		{Name: "q3", Reads: []Kind{KindPerson, KindAuction}},
		{Name: "q5", Reads: bids},
		{Name: "q5_join", Reads: bids},
		{Name: "q7", Reads: bids},
		{Name: "q7_join", Reads: bids},
		{Name: "q8", Reads: []Kind{KindPerson, KindAuction}},
		{Name: "q10", Reads: bids},
		{Name: "q11", Reads: bids},
		{Name: "q13", Reads: bids},
		{Name: "q14", Reads: bids},
		{Name: "q20", Reads: []Kind{KindAuction, KindBid}},
		{Name: "q21", Reads: bids},
		{Name: "q22", Reads: bids},
		{Name: "q23", Reads: Kinds()},
	}
}

// kept are the queries in update mode.
func kept() []Query {
	bids, sales := []Kind{KindBid}, []Kind{KindAuction, KindBid}
	return []Query{
		{Name: "q4", Mode: stream.Update, Reads: sales, Keys: []string{"category"}},
		{Name: "q6", Mode: stream.Update, Reads: sales, Keys: []string{"auction"}},
		{Name: "q9", Mode: stream.Update, Reads: sales, Keys: []string{"id"}},
		{Name: "q12", Mode: stream.Update, Reads: bids, Keys: []string{"bidder", "starttime"}, Clock: true,
			Stable: "SELECT bidder, sum(bid_count) AS bid_count FROM result GROUP BY bidder"},
		{Name: "q15", Mode: stream.Update, Reads: bids, Keys: []string{"day"}},
		{Name: "q16", Mode: stream.Update, Reads: bids, Keys: []string{"channel", "day"}},
		{Name: "q17", Mode: stream.Update, Reads: bids, Keys: []string{"auction", "day"}},
		{Name: "q18", Mode: stream.Update, Reads: bids, Keys: []string{"bidder", "auction"}},
		{Name: "q19", Mode: stream.Update, Reads: bids, Keys: []string{"auction", "rank_number"}},
	}
}

// fileOf returns the name of a query's file without its ending: q5_join is in q05_join.sql.
func fileOf(name string) string {
	number, rest, found := strings.Cut(strings.TrimPrefix(name, "q"), "_")
	if found {
		rest = "_" + rest
	}
	return fmt.Sprintf("q%02s%s", number, rest)
}

// read fills in the texts.
func (q *Query) read() error {
	data, err := files.ReadFile("queries/" + fileOf(q.Name) + ".sql")
	if err != nil {
		return fmt.Errorf("query %s: %w", q.Name, err)
	}
	text := string(data)
	at := strings.Index(text, "CREATE QUERY "+q.Name+" ")
	_, body, found := strings.Cut(text[max(at, 0):], "\nAS\n")
	if at < 0 || !found {
		return fmt.Errorf("query %s: its file has no CREATE QUERY with AS on a line of its own", q.Name)
	}
	q.Setup, q.Text = withoutComments(text[:at]), text[at:]
	q.Body = strings.TrimSuffix(strings.TrimSpace(body), ";")
	return nil
}

// withoutComments drops the lines that are comments.
func withoutComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "--") {
			b.WriteString(line)
		}
	}
	return strings.TrimSpace(b.String())
}

// Connectors are the options, the inside of WITH (…), of the three sources and of the sink, which is named
// result.
type Connectors struct {
	Person, Auction, Bid, Sink string
}

// Script returns the query as a whole, to be parsed by the engine: sources, sink, what it needs, CREATE
// QUERY.
func (q Query) Script(c Connectors) (string, error) {
	sources, err := files.ReadFile("queries/sources.sql")
	if err != nil {
		return "", fmt.Errorf("read the sources: %w", err)
	}
	_, declared, _ := strings.Cut(string(sources), "CREATE SOURCE")
	filled := strings.NewReplacer("{{person}}", c.Person, "{{auction}}", c.Auction, "{{bid}}", c.Bid,
		"{{sink}}", c.Sink).Replace("CREATE SOURCE" + declared)
	if q.Setup != "" {
		filled += q.Setup + "\n\n"
	}
	return filled + q.Text, nil
}
