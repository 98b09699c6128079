package peers

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// nexmarkSuite is Nexmark from Parquet files to Parquet, or to a sink of changes where results change.
func nexmarkSuite(ctx context.Context, r *run, dir string) ([]*workload, error) {
	list, err := nexmark.Queries()
	if err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	if list, err = asked(list, r.Queries); err != nil {
		return nil, err
	}
	events := cmp.Or(r.Rows, 1_000_000)
	data := benchmarks.Dataset{Dir: dir, Seed: r.Seed, Rows: events, Files: r.Files, Rate: r.Rate}
	if err := benchmarks.WriteDataset("nexmark", data); err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	tables, err := r.nexmarkTables(ctx, dir)
	if err != nil {
		return nil, err
	}
	bound, err := r.plain.Counts(ctx, "SELECT epoch_ms(max(dateTime)) - 5000 FROM "+duck.QuoteIdent("bid"))
	if err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	var out []*workload
	for _, q := range list {
		w, err := nexmarkQuery(q, tables, bound[0])
		if err != nil {
			return nil, err
		}
		w.files = max(1, r.Files/4) // few queries do better with less, and trying each would take hours
		w.rows = events             // as the suite counts: what the query does not read is left out by reading other files
		if w.warm, err = warm(filepath.Join(dir, "warm", q.Name), w.tables); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// asked returns the queries of these names, or all.
func asked(list []nexmark.Query, names []string) ([]nexmark.Query, error) {
	if len(names) == 0 {
		return list, nil
	}
	var known []string
	for _, q := range list {
		known = append(known, q.Name)
	}
	if err := benchmarks.Known("query", names, known); err != nil {
		return nil, err //nolint:wrapcheck // coded
	}
	return slices.DeleteFunc(list, func(q nexmark.Query) bool { return !slices.Contains(names, q.Name) }), nil
}

// nexmarkTables are person, auction and bid, which plain DuckDB knows from then on.
func (r *run) nexmarkTables(ctx context.Context, dir string) (map[string]table, error) {
	out := map[string]table{}
	for _, k := range nexmark.Kinds() {
		t := table{name: k.String(), dir: filepath.Join(dir, k.String()), ts: "dateTime", delay: "4 seconds"}
		w := workload{tables: []table{t}}
		if err := r.plain.Exec(ctx, w.views()); err != nil {
			return nil, err //nolint:wrapcheck // says what
		}
		columns, err := r.plain.Columns(ctx, "FROM "+duck.QuoteIdent(t.name))
		if err != nil {
			return nil, err //nolint:wrapcheck // says what
		}
		var list []string
		for _, c := range columns {
			list = append(list, c[0]+" "+c[1])
		}
		t.columns = strings.Join(list, ", ")
		out[t.name] = t
	}
	return out, nil
}

// nexmarkQuery is one query. What is not final at bound, in ms, is left out of results of windows.
func nexmarkQuery(q nexmark.Query, tables map[string]table, bound int64) (*workload, error) {
	w := &workload{suite: "nexmark", name: q.Name, setup: q.Setup, body: q.Body, keys: q.Keys, stable: q.Stable,
		update: q.Mode == stream.Update, state: len(q.Reads) > 1}
	for _, k := range q.Reads {
		t, ok := tables[k.String()]
		if !ok {
			return nil, fmt.Errorf("there is no table %s", k)
		}
		w.tables = append(w.tables, t)
	}
	end := map[string]string{"q5": "epoch_ms(window_end)", "q5_join": "epoch_ms(window_end)", "q11": "epoch_ms(endtime)",
		"q7": "(epoch_ms(dateTime) // 10000 + 1) * 10000", "q7_join": "(epoch_ms(dateTime) // 10000 + 1) * 10000",
		"q8": "epoch_ms(starttime) + 10000"}[q.Name]
	if end != "" {
		w.final = fmt.Sprintf("%s <= %d", end, bound)
	}
	return w, nil
}
