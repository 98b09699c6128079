package file

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sources/sourcetest"
	"github.com/tidemill/tidemill/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is a folder of input files and a data dir.
type fixture struct {
	in, data string
	options  stream.Options
	columns  []stream.Column
	query    string // uuid of the query that owns the source; "" for none
	n        int
}

func newFixture(t testing.TB, format string) *fixture {
	t.Helper()
	dir := t.TempDir()
	f := &fixture{in: filepath.Join(dir, "in"), data: filepath.Join(dir, "data")}
	require.NoError(t, os.Mkdir(f.in, 0o700))
	f.options = stream.Options{"path": f.in, "format": format, "poll_interval": time.Millisecond, "on_data_loss": "fail"}
	f.columns = []stream.Column{{Name: "id", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64}}
	return f
}

func (f *fixture) open(t *testing.T) stream.Source {
	t.Helper()
	s, err := Connector().Open(t.Context(), stream.SourceConfig{Name: "f", Options: f.options, Columns: f.columns,
		FS: vfs.OS{}, Dir: f.data, Query: f.query, Clock: clock.System{}})
	require.NoError(t, err)
	return s
}

// put makes a file appear whole, later than the ones before.
func (f *fixture) put(t testing.TB, name, text string) string {
	t.Helper()
	f.n++
	tmp, path := filepath.Join(f.in, ".new"), filepath.Join(f.in, name)
	require.NoError(t, os.WriteFile(tmp, []byte(text), 0o600))
	at := time.Unix(1_700_000_000+int64(f.n), 0)
	require.NoError(t, os.Chtimes(tmp, at, at))
	require.NoError(t, os.Rename(tmp, path))
	return path
}

// all reads everything as one range.
func all(t *testing.T, s stream.Source) (*stream.Input, stream.Range) {
	t.Helper()
	a, err := s.Available(t.Context(), "0", "", stream.Limit{})
	require.NoError(t, err)
	r := stream.Range{From: "0", To: a.To, Identity: a.Identity}
	in, err := s.Read(t.Context(), r)
	require.NoError(t, err)
	t.Cleanup(in.Release)
	return in, r
}

func payloads(in *stream.Input) []string {
	var list []string
	for i := range in.Messages.Len() {
		list = append(list, string(in.Messages.Payload(i)))
	}
	return list
}

func TestContract(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"ndjson", formatParquet} {
		t.Run(format, func(t *testing.T) {
			sourcetest.Run(t, func(t *testing.T) sourcetest.Harness {
				f := newFixture(t, format)
				return sourcetest.Harness{Open: f.open, Add: func(t *testing.T, n int) {
					for range n {
						text := fmt.Sprintf("{\"id\":%d}\n", f.n)
						if format == formatParquet {
							text = parquetFile(t, int64(f.n))
						}
						f.put(t, fmt.Sprintf("%04d", 9999-f.n), text)
					}
				}}
			}, sourcetest.Features{Files: true, Bytes: true})
		})
	}
}

func parquetFile(t *testing.T, ids ...int64) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "note", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "small", Type: arrow.PrimitiveTypes.Int16, Nullable: true},
		{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, id := range ids {
		b.Field(0).(*array.StringBuilder).Append("n")
		b.Field(1).(*array.Int64Builder).Append(id)
		b.Field(2).(*array.Int16Builder).Append(int16(id))
		b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(id*1000 + 999))
		l := b.Field(4).(*array.ListBuilder)
		l.Append(true)
		l.ValueBuilder().(*array.StringBuilder).Append("t")
	}
	rec := b.NewRecord()
	defer rec.Release()
	return parquetWith(t, rec)
}

// parquetWith is a Parquet file with the rows of a record.
func parquetWith(t *testing.T, rec arrow.Record) string {
	t.Helper()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &buf, nil, pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	return buf.String()
}

func TestFormatsBecomeMessages(t *testing.T) {
	t.Parallel()
	line := `{"id":1,"pad":"` + strings.Repeat("x", 1000) + "\"}\n"
	for _, c := range []struct {
		format, text string
		want         []string
	}{
		{"json", " [1] ", []string{" [1] "}}, {"text", "a\r\n\nb", []string{"a", "", "b"}}, {"text", "", nil},
		{"csv", "h\n1\n", []string{"h\n1\n"}}, {"csv", "", nil}, {"ndjson", "{}\n{}", []string{"{}\n{}"}},
		{"ndjson", strings.Repeat(line, 1500), []string{strings.Repeat(line, 1031), strings.Repeat(line, 469)}},
	} {
		f := newFixture(t, c.format)
		path := f.put(t, "a", c.text)
		s := f.open(t)
		in, _ := all(t, s)
		require.Equal(t, len(c.want), in.Messages.Len(), c.format)
		require.Equal(t, c.want, payloads(in))
		if len(c.want) > 0 {
			require.Equal(t, uint64(1<<40), in.Messages.Sequence[0])
			require.Equal(t, path, in.Messages.File[0])
			require.Equal(t, int64(1_700_000_001_000_000), in.Messages.Published[0])
			require.NotZero(t, in.CRC)
		}
		require.NoError(t, s.Close())
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "ndjson")
	f.put(t, "a.gz", gzipped(t, "{\"id\":1}\n"))
	s := f.open(t)
	defer s.Close()
	in, _ := all(t, s)
	require.Equal(t, []string{"{\"id\":1}\n"}, payloads(in))
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.String()
}

// TestDamagedGzip asks that the rows before a cut are used and the rest is one broken payload, that nothing of a file
// is used whose bytes are wrong somewhere, and that on_error = 'fail' stops.
func TestDamagedGzip(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	var lines strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&lines, "{\"id\":%d,\"pad\":%d}\n", i, rng.Uint64())
	}
	text, packed := lines.String(), gzipped(t, lines.String())
	flipped := []byte(packed)
	flipped[len(flipped)-6] ^= 1 // of the checksum
	for name, c := range map[string]struct {
		format, file string
		used         bool
		reason       string
	}{
		"cut":      {"ndjson", packed[:len(packed)/2], true, "unexpected EOF"},
		"lines":    {"text", packed[:len(packed)/2], true, "unexpected EOF"},
		"one json": {"json", packed[:len(packed)/2], false, "nothing of it is used"},
		"checksum": {"ndjson", string(flipped), false, "invalid checksum"},
		"no gzip":  {"ndjson", "not gzip at all", false, "invalid header"},
		"empty":    {"ndjson", "", false, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, c.format)
			path := f.put(t, "a.gz", c.file)
			f.put(t, "b.gz", gzipped(t, "{\"id\":-1}\n"))
			s := f.open(t)
			in, r := all(t, s)
			require.Equal(t, []string{path}, in.Broken.Messages.File)
			require.Len(t, in.Broken.Reasons, 1)
			require.Contains(t, in.Broken.Reasons[0], c.reason)
			used := strings.Join(payloads(in), "")
			if c.format == "text" {
				used = strings.Join(payloads(in), "\n") + "\n"
			}
			require.Equal(t, `{"id":-1}`+"\n", used[len(used)-10:], "the files behind it are read")
			used = used[:len(used)-10]
			require.True(t, strings.HasPrefix(text, used))
			require.Equal(t, c.used, used != "")
			if used != "" {
				require.True(t, strings.HasSuffix(used, "\n") || c.format == "text")
				rest := string(in.Broken.Messages.Payload(0))
				require.NotContains(t, rest, "\n")
				require.True(t, strings.HasPrefix(text[len(used):], rest))
			}
			again, err := s.Read(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, in.CRC, again.CRC)
			require.Equal(t, in.Broken, again.Broken)
			require.NoError(t, s.Close())

			f.options["on_error"] = "fail"
			s = f.open(t)
			_, err = s.Read(t.Context(), r)
			require.Equal(t, diag.ReadFailed, diag.CodeOf(err))
			require.ErrorContains(t, err, path)
			require.NoError(t, s.Close())
		})
	}
}

func rangeTo(t *testing.T, s stream.Source) stream.Range {
	t.Helper()
	a, err := s.Available(t.Context(), "0", "", stream.Limit{})
	require.NoError(t, err)
	return stream.Range{From: "0", To: a.To, Identity: a.Identity}
}

func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a.json", "b.csv", ".hidden", "_staged.json", "x.json.tmp", "2024/01/c.json", "2024/_d/e.json"} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	for pattern, want := range map[string]string{
		"": "a.json b.csv", "*.json": "a.json", "**/*.json": "a.json 2024/01/c.json", "*/*/*": "2024/01/c.json", "**": "a.json b.csv 2024/01/c.json",
		"2024/0[12]/c.json": "2024/01/c.json", "b.csv": "b.csv", "*.txt": "", "_staged.json": "_staged.json",
	} {
		got, err := glob(vfs.OS{}, filepath.Join(dir, pattern))
		require.NoError(t, err)
		var list []string
		for _, w := range strings.Fields(want) {
			list = append(list, filepath.Join(dir, w))
		}
		require.ElementsMatch(t, list, got, pattern)
	}
	_, err := glob(vfs.OS{}, filepath.Join(dir, "nowhere", "*.json"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestChangedAndLostFiles(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(path string) error{
		"size":    func(p string) error { return os.WriteFile(p, []byte("{\"id\":10}\n"), 0o600) },
		"content": func(p string) error { return os.WriteFile(p, []byte("{\"id\":8}\n"), 0o600) },
		"gone":    os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, "ndjson")
			f.put(t, "a", "{\"id\":1}\n")
			path := f.put(t, "b", "{\"id\":2}\n")
			s := f.open(t)
			_, r := all(t, s)
			require.NoError(t, s.Close())
			require.NoError(t, spoil(path))
			s = f.open(t)
			_, err := s.Read(t.Context(), r)
			require.Equal(t, diag.DataLoss, diag.CodeOf(err))
			require.ErrorContains(t, err, path)
			if name == "gone" {
				_, err = s.Available(t.Context(), "0", r.Identity, stream.Limit{})
				require.Equal(t, diag.DataLoss, diag.CodeOf(err))
			}
			require.NoError(t, s.Close())
			f.options["on_data_loss"] = "skip"
			s = f.open(t)
			in, err := s.Read(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, int64(1), in.Lost)
			require.Equal(t, []string{"{\"id\":1}\n"}, payloads(in))
			p := sourcetest.SamePieces(t, s, r, in)
			require.Equal(t, name != "gone", p.Cuts > 0, "a file that turned out to be another")
			require.NoError(t, s.Close())
		})
	}
}

func TestParquetColumns(t *testing.T) {
	t.Parallel()
	f := newFixture(t, formatParquet)
	f.columns = []stream.Column{
		{Name: "ts", Type: "TIMESTAMP", Arrow: &arrow.TimestampType{Unit: arrow.Microsecond}},
		{Name: "small", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64},
		{Name: "tags", Type: "VARCHAR[]", Arrow: arrow.ListOf(arrow.BinaryTypes.String)},
		{Name: "file", Type: "VARCHAR", Arrow: arrow.BinaryTypes.String, Metadata: true},
		{Name: "sequence", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64, Metadata: true},
	}
	path := f.put(t, "a.parquet", parquetFile(t, 1, 2))
	f.put(t, "b.parquet", parquetFile(t))
	s := f.open(t)
	defer s.Close()
	in, _ := all(t, s)
	require.Len(t, in.Rows, 1)
	got, err := in.Rows[0].MarshalJSON()
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`[{"ts":"1970-01-01 00:00:00.000001Z","small":1,"tags":["t"],"file":%q,"sequence":1099511627776},
		{"ts":"1970-01-01 00:00:00.000002Z","small":2,"tags":["t"],"file":%q,"sequence":1099511627777}]`, path, path), string(got))

	f.columns = []stream.Column{f.columns[1], {Name: "smal", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64}}
	some := f.open(t)
	in, _ = all(t, some)
	got, err = in.Rows[0].MarshalJSON()
	require.NoError(t, err)
	require.JSONEq(t, `[{"small":1,"smal":null},{"small":2,"smal":null}]`, string(got))
	require.NoError(t, some.Close())
}

// TestParquetThatDoesNotFitIsBroken asks that a file which is no Parquet, has none of the columns or another type is one
// broken payload, and that the files beside it are read.
func TestParquetThatDoesNotFitIsBroken(t *testing.T) {
	t.Parallel()
	f := newFixture(t, formatParquet)
	f.columns = []stream.Column{{Name: "small", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64}}
	f.put(t, "a.parquet", parquetFile(t, 1, 2))
	f.put(t, "b.parquet", "no Parquet at all")
	f.put(t, "c.parquet", "")
	f.put(t, "d.parquet", parquetFile(t, 3))
	s := f.open(t)
	in, _ := all(t, s)
	require.Len(t, in.Rows, 2)
	require.EqualValues(t, 3, in.Rows[0].NumRows()+in.Rows[1].NumRows())
	require.Len(t, in.Broken.Reasons, 2)
	require.Equal(t, "no Parquet at all", string(in.Broken.Messages.Payload(0)))
	require.Contains(t, in.Broken.Messages.File[1], "c.parquet")
	again, _ := all(t, s)
	require.Equal(t, in.CRC, again.CRC)
	require.NoError(t, s.Close())

	for reason, column := range map[string]stream.Column{
		`column "note" is utf8 in the file and declared as BIGINT`: {Name: "note", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64},
		`it has none of the columns ["smal"]; it has ["note"`:      {Name: "smal", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64},
	} {
		f.columns = []stream.Column{column}
		bad := f.open(t)
		in, _ := all(t, bad)
		require.Nil(t, in.Rows)
		require.Contains(t, in.Broken.Reasons[0], reason)
		require.NoError(t, bad.Close())
	}
}

func TestDamagedParquetIsBroken(t *testing.T) {
	t.Parallel()
	whole := []byte(parquetFile(t, 1, 2, 3))
	f := newFixture(t, formatParquet)
	f.columns = append(f.columns, stream.Column{Name: "tags", Type: "VARCHAR[]", Arrow: arrow.ListOf(arrow.BinaryTypes.String)})
	s := f.open(t).(*source)
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 500 {
		data := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			data[rng.IntN(len(data))] ^= byte(1 << rng.IntN(8))
		}
		var tb tables
		var x broken
		require.NoError(t, tb.add(t.Context(), s, content{entry{Path: "x"}, data[:len(data)-rng.IntN(2)*rng.IntN(20)]}, &x))
		refused += len(x.reasons)
		tb.release()
	}
	require.Greater(t, refused, 50)
}

func TestRefusedOptions(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "json")
	for path, code := range map[string]diag.Code{"": diag.BadOption, "in/[": diag.BadOption} {
		f.options["path"] = path
		_, err := open(stream.SourceConfig{Options: f.options})
		require.Equal(t, code, diag.CodeOf(err), path)
	}
	f.options["path"] = filepath.Join(f.in, "nowhere")
	s := f.open(t)
	defer s.Close()
	_, _, err := s.Start(t.Context())
	require.Equal(t, diag.ReadFailed, diag.CodeOf(err))
}
