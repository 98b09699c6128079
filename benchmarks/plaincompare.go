package benchmarks

import (
	"context"
	"fmt"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/internal/diag"
)

// differs says that a result is not what plain DuckDB gives.
type differs struct{ how string }

func (d *differs) Error() string { return "the result differs from plain DuckDB's: " + d.how }

// diffRows is how many rows that are not the same to the bit are looked at one by one: DOUBLEs may differ
// in the last bits, as sums depend on the order of their terms.
const diffRows = 100_000

// compare asks that the table got holds the rows of want, a SELECT, and returns how many there are.
func (p *plain) compare(ctx context.Context, want string) (int64, error) {
	if _, err := p.conn.Exec(ctx, "CREATE OR REPLACE TEMP TABLE want AS "+want); err != nil {
		return 0, fmt.Errorf("run the query in plain DuckDB: %w", err)
	}
	counts, err := p.counts(ctx, "SELECT (SELECT count(*) FROM want), (SELECT count(*) FROM got)")
	if err != nil {
		return 0, err
	}
	if counts[0] == 0 {
		return 0, diag.New(diag.Usage, "there is nothing to compare: the run was too short for a result").
			WithHint("give it more --rows, or more time where it takes --for")
	}
	const left = `CREATE OR REPLACE TEMP TABLE missing AS FROM want EXCEPT ALL FROM got;
CREATE OR REPLACE TEMP TABLE extra AS FROM got EXCEPT ALL FROM want`
	if _, err := p.conn.Exec(ctx, left); err != nil {
		return 0, fmt.Errorf("compare: %w", err)
	}
	odd, err := p.counts(ctx, "SELECT (SELECT count(*) FROM missing), (SELECT count(*) FROM extra)")
	if err != nil || odd[0] == 0 && odd[1] == 0 {
		return counts[0], err
	}
	if odd[0] != odd[1] || odd[0] > diffRows {
		return 0, &differs{fmt.Sprintf("of %d rows %d are missing and %d are too many", counts[0], odd[0], odd[1])}
	}
	missing, err := p.rows(ctx, "FROM missing")
	if err != nil {
		return 0, err
	}
	extra, err := p.rows(ctx, "FROM extra")
	if err != nil {
		return 0, err
	}
	if how := nexmark.Diff(extra, missing); how != "" {
		return 0, &differs{how}
	}
	return counts[0], nil
}

func (p *plain) rows(ctx context.Context, sql string) ([][]any, error) {
	t, err := p.conn.Select(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	defer t.Release()
	return nexmark.Rows(t), nil
}

// hash is a number of the rows of got, whatever their order.
func (p *plain) hash(ctx context.Context) (string, error) {
	rows, err := p.conn.Rows(ctx, "SELECT printf('%016x', (sum(hash(got)) % 18446744073709551616)::UBIGINT) FROM got")
	if err != nil {
		return "", fmt.Errorf("hash the result: %w", err)
	}
	text, _ := rows[0][0].(string)
	return text, nil
}

func (p *plain) counts(ctx context.Context, sql string) ([]int64, error) {
	rows, err := p.conn.Rows(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("count: %w", err)
	}
	out := make([]int64, len(rows[0]))
	for i, v := range rows[0] {
		n, ok := v.(int64)
		if !ok {
			return nil, fmt.Errorf("count: %T is no BIGINT", v)
		}
		out[i] = n
	}
	return out, nil
}
