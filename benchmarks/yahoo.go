package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"

	"github.com/tidemill/tidemill/benchmarks/yahoo"
	"github.com/tidemill/tidemill/internal/duck"
)

const campaignsFile = "campaigns.ndjson"

// yahooEvents are the events of a seed, 10,000 in a second of event time unless rate says otherwise.
func yahooEvents(seed uint64, rate int64) *yahoo.Events {
	return yahoo.New(seed, cmp.Or(rate, 10_000))
}

const yahooSQL = `CREATE SOURCE events (` + yahoo.Columns + `
) WITH (%s);
CREATE TABLE campaigns AS SELECT ad_id, campaign_id FROM read_json(%s,
  format := 'newline_delimited', columns := ` + yahoo.CampaignColumns + `);
CREATE SINK counts WITH (%s);
CREATE QUERY yahoo INTO counts AS
  ` + yahoo.Body + `;
`

const (
	yahooStream = "connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = '%s'"
	yahooCounts = "connector = 'jetstream', url = '${NATS_URL}', stream = 'COUNTS%d'"
	yahooFiles  = "connector = 'file', path = '${BENCH_DIR}/../" + partsDir + "/*.ndjson', format = 'ndjson'"
	yahooOut    = "connector = 'parquet', path = '${BENCH_DIR}/out%d'"
)

// Inputs are the ways in which a suite can be fed, first the one it is fed in unless told; none if there is no choice.
func Inputs(suite string) []string {
	return map[string][]string{"yahoo": {"packed", "packed-lz4", "single", "files"},
		"nexmark": {inputParquet, inputNDJSON, inputMemory}}[suite]
}

// yahoo counts the views of each campaign in windows of 10 seconds, end to end.
func (r *run) yahoo(ctx context.Context) error {
	input := cmp.Or(r.Input, "packed")
	r.report.Suite = "yahoo-" + input
	e := yahooEvents(r.Seed, r.Rate)
	t := throughput{maker: e, columns: yahoo.ReadColumns,
		dump: func(run int) string { return fmt.Sprintf("COUNTS%d", run) },
		checks: func(dir string) []check {
			return yahooCheck(dir, fromJSON(filepath.Join(dir, "sink.ndjson"), yahoo.ResultColumns))
		},
	}
	switch input {
	case "packed":
		t.rows, t.pack, t.target = 8_000_000, 1000, 4_000_000
		t.sql = r.yahooText(fmt.Sprintf(yahooStream, "ndjson"), yahooCounts)
	case "packed-lz4":
		t.rows, t.pack, t.compression, t.target = 8_000_000, 1000, "lz4", 4_000_000
		t.sql = r.yahooText(fmt.Sprintf(yahooStream, "ndjson")+", compression = 'auto'", yahooCounts)
	case "single":
		t.rows, t.pack, t.target = 2_000_000, 1, 350_000
		t.sql = r.yahooText(fmt.Sprintf(yahooStream, "json"), yahooCounts)
	case "files":
		t.rows, t.target = 8_000_000, 4_000_000
		t.also = ", and 8 times Spark on the same files, which `tidemill bench peers yahoo` measures"
		t.sql = r.yahooText(yahooFiles, yahooOut)
		t.dump = func(int) string { return "" }
		t.checks = func(dir string) []check {
			return yahooCheck(dir, "SELECT window_start, campaign_id, views FROM read_parquet("+
				duck.QuoteLiteral(filepath.Join(dir, "out*/*.parquet"))+")")
		}
	default:
		return Known("input of yahoo", []string{input}, Inputs("yahoo"))
	}
	if err := writeCampaigns(r.Dir, e); err != nil {
		return err
	}
	return r.throughput(ctx, t)
}

// yahooText is the application, in which %d still stands for the number of the run.
func (r *run) yahooText(source, sink string) string {
	return fmt.Sprintf(yahooSQL, source, duck.QuoteLiteral(filepath.Join(r.Dir, campaignsFile)), sink)
}

func yahooCheck(dir, got string) []check {
	campaigns := fromJSON(filepath.Join(filepath.Dir(dir), campaignsFile), yahoo.CampaignColumns)
	return []check{{name: "yahoo", want: "WITH campaigns AS (" + campaigns + ") " + yahoo.Want, got: got}}
}
