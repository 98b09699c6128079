package peers

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// verify compares what a run left behind with the answer of plain DuckDB over the same files and returns how many rows
// are equal.
func (r *run) verify(ctx context.Context, w *workload, c contender, j job) (n int64, err error) {
	if _, ok := c.(tidemill); ok && w.update {
		if err := r.plain.Exec(ctx, "ATTACH "+duck.QuoteLiteral(j.Out)+" AS sunk (READ_ONLY)"); err != nil {
			return 0, fmt.Errorf("open the result: %w", err)
		}
		defer func() { err = errors.Join(err, r.plain.Exec(context.WithoutCancel(ctx), "DETACH sunk")) }()
	}
	got, err := r.alike(ctx, w.answer(), c.got(w, j))
	if err != nil {
		return 0, err
	}
	n, err = r.plain.Compare(ctx, w.comparable(got), w.comparable(w.answer()))
	if err != nil {
		return 0, fmt.Errorf("compare: %w", err)
	}
	return n, nil
}

// alike selects the columns of want, by name and with its types, from got: engines differ in the order of columns, in
// the width of numbers and in whether a time has a zone.
func (r *run) alike(ctx context.Context, want, got string) (string, error) {
	columns, err := r.plain.Columns(ctx, want)
	if err != nil {
		return "", err
	}
	have, err := r.plain.Columns(ctx, got)
	if err != nil {
		return "", err
	}
	types := map[string]string{}
	for _, h := range have {
		types[strings.ToLower(h[0])] = h[1]
	}
	var list []string
	for _, col := range columns {
		name := duck.QuoteIdent(col[0])
		value := name
		if types[strings.ToLower(col[0])] == "TIMESTAMP WITH TIME ZONE" {
			value = "make_timestamp(epoch_us(" + name + "))" // in UTC, whatever the session's zone is
		}
		list = append(list, fmt.Sprintf("(%s)::%s AS %s", value, col[1], name))
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (" + got + ")", nil
}
