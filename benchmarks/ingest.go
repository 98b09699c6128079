package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
)

// ingestSQL looks at every value of every column and gives a handful of rows, so that what is measured is reading and
// decoding, and what is compared is a checksum of all that came in.
const ingestSQL = `CREATE SOURCE rows (` + columns + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = '%s');
CREATE SINK sums WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'SUMS%%d', payload = 'ndjson');
CREATE QUERY ingest INTO sums OUTPUT MODE UPDATE AS
  ` + ingestBody + `;
`

const ingestBody = `SELECT country, count(*) AS n, sum(order_id)::HUGEINT AS ids, sum(amount) AS amount, max(ts) AS latest,
    max(note) AS note, min(category) AS category, max(user_id) AS users,
    sum(length(note) + ascii(note) + length(category) + length(user_id) + ascii(right(user_id, 1)))::HUGEINT AS texts
  FROM rows GROUP BY country`

const ingestColumns = `{'country': 'VARCHAR', 'n': 'BIGINT', 'ids': 'HUGEINT', 'amount': 'DECIMAL(38, 2)', 'latest': 'TIMESTAMP',
  'note': 'VARCHAR', 'category': 'VARCHAR', 'users': 'VARCHAR', 'texts': 'HUGEINT'}`

// ingest reads the same rows in each format.
func (r *run) ingest(ctx context.Context) error {
	m := maker{seed: r.Seed, perSecond: 1000}
	total := cmp.Or(r.Rows, 1_000_000)
	rowsFile := filepath.Join(r.Dir, "rows.ndjson")
	if err := writeRows(rowsFile, m, 0, total); err != nil {
		return err
	}
	result := &Lanes{By: "format"}
	r.report.SQL, r.report.Target = fmt.Sprintf(ingestSQL, "json"), "near the raw read, one JSON row per message"
	chosen, err := chosenLanes(r.Lanes, formats(), func(f format) string { return f.name })
	if err != nil {
		return err
	}
	for i, f := range chosen {
		if err := r.client.remove(ctx, inStream); err != nil {
			return err
		}
		r.say("publishing %d rows as %s, %d in a message", total, f.name, f.pack)
		encode := func(from, to int64) ([]byte, error) { return f.encode(m, from, to) }
		if err := r.client.fillWith(ctx, total, f.pack, encode); err != nil {
			return err
		}
		t := throughput{maker: m, columns: readColumns, rows: total, pack: f.pack, sql: fmt.Sprintf(ingestSQL, f.option),
			dump: func(run int) string { return fmt.Sprintf("SUMS%d", run) },
			checks: func(dir string) []check {
				return []check{{name: f.name, want: ingestBody,
					got: "SELECT unnest(arg_max(s, s.n)) FROM (" + fromJSON(filepath.Join(dir, "sink.ndjson"), ingestColumns) +
						") s GROUP BY s.country"}}
			}}
		one, err := r.eat(ctx, t, i+1, rowsFile)
		if err != nil {
			return fmt.Errorf("format %s: %w", f.name, err)
		}
		r.say("%s: %.0f rows/s, verified; raw read %.0f", f.name, one.RowsPerSecond, one.RawPerSecond)
		result.Lanes = append(result.Lanes, newLane(f.name, one))
	}
	r.report.Result = result
	return nil
}
