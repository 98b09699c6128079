package benchmarks

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/zstdpages"
)

// The inputs of nexmark.
const (
	inputParquet = "parquet"
	inputNDJSON  = "ndjson"
	inputMemory  = "memory"
)

// writeNexmark writes a folder for each stream as the suite itself reads them.
func writeNexmark(d Dataset) error {
	format := cmp.Or(d.Format, inputParquet)
	if format != inputParquet && format != inputNDJSON {
		return diag.New(diag.Usage, "format %q of nexmark is not %s or %s", format, inputParquet, inputNDJSON)
	}
	batch := int64(0)
	if d.Files > 0 {
		batch = (d.Rows + int64(d.Files) - 1) / int64(d.Files)
	}
	return nexmarkFeed(max(d.Seed, 1), d.Rows, batch, d.Rate).files(context.Background(), d.Dir, format)
}

// nexmarkFeed has the defaults of the suite.
func nexmarkFeed(seed uint64, events, batch, rate int64) feedSpec {
	return feedSpec{Kind: "nexmark", Seed: seed, Rows: cmp.Or(batch, 100_000), Rate: cmp.Or(rate, 10_000),
		Total: cmp.Or(events, 1_000_000)}
}

// files writes the events of a feed of Nexmark: a folder for each stream, in it a file for each step, also for one
// that has no events of the stream, so that as many files of each stream are the same stretch of time.
func (s feedSpec) files(ctx context.Context, dir, format string) error {
	for _, k := range nexmark.Kinds() {
		if err := os.MkdirAll(filepath.Join(dir, k.String()), 0o755); err != nil { //nolint:gosec // for everybody
			return fmt.Errorf("make the folder of a stream: %w", err)
		}
	}
	g, err := nexmark.New(nexmark.Config{Seed: s.Seed, Rate: s.Rate})
	if err != nil {
		return err //nolint:wrapcheck // says what
	}
	build := nexmark.NewBuilders(memory.DefaultAllocator)
	defer build.Release()
	for n := range steps(s.Total, s.Rows) {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if format == inputNDJSON {
			err = s.ndjson(g, dir, n)
		} else {
			err = s.parquet(g, build, dir, n)
		}
		if err != nil {
			return fmt.Errorf("write the events of step %d: %w", n, err)
		}
	}
	return nil
}

// stepFile names a stream's file of one step.
func stepFile(dir string, k nexmark.Kind, n int, format string) string {
	return filepath.Join(dir, k.String(), fmt.Sprintf("%06d.%s", n, format))
}

func (s feedSpec) ndjson(g *nexmark.Generator, dir string, n int) (err error) {
	to := map[nexmark.Kind]io.Writer{}
	for _, k := range nexmark.Kinds() {
		f, err := os.Create(stepFile(dir, k, n, inputNDJSON))
		if err != nil {
			return err //nolint:wrapcheck // files says what
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to[k] = f
	}
	from := int64(n) * s.Rows
	return g.WriteJSON(to, from, min(from+s.Rows, s.Total)) //nolint:wrapcheck // says what
}

func (s feedSpec) parquet(g *nexmark.Generator, build *nexmark.Builders, dir string, n int) error {
	made := s.nexmark(g, build, n)
	defer func() {
		for _, rec := range made {
			rec.Release()
		}
	}()
	for _, k := range nexmark.Kinds() {
		if err := writeParquet(stepFile(dir, k, n, inputParquet), made[k.String()]); err != nil {
			return err
		}
	}
	return nil
}

// writeParquet writes a record as one file of one row group, packed as most writers do.
func writeParquet(path string, rec arrow.Record) error {
	f, err := os.Create(path)
	if err != nil {
		return err //nolint:wrapcheck // files says what
	}
	out := bufio.NewWriterSize(f, 1<<20)
	zstdpages.Install()
	err = func() error {
		w, err := pqarrow.NewFileWriter(rec.Schema(), struct{ io.Writer }{out}, // without a Close that it would call
			parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Snappy),
				parquet.WithVersion(parquet.V2_LATEST)), // older ones have no microseconds without a zone
			pqarrow.DefaultWriterProps())
		if err != nil {
			return err //nolint:wrapcheck // files says what
		}
		return errors.Join(w.Write(rec), w.Close())
	}()
	return errors.Join(err, out.Flush(), f.Close())
}
