package files

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// options are the checked options of one sink.
type options struct {
	kind        string
	root        string
	partition   []int // columns of the result, in the order of partition_by
	codec       codec
	compact     bool
	targetBytes int64
	grace       time.Duration
}

// Connectors returns the connectors "parquet", "json" and "csv".
func Connectors() map[string]stream.SinkConnector {
	return map[string]stream.SinkConnector{"parquet": Parquet(), "json": JSON(), "csv": CSV()}
}

// Parquet returns the connector that writes Parquet files.
func Parquet() stream.SinkConnector {
	return connector("parquet", "Parquet files in a folder.", "compression = 'zstd'", stream.Field{
		Name: "compression", Type: stream.Enum, Values: []string{"zstd", "snappy", "none"}, Default: "zstd",
		Summary: "How column chunks are compressed.",
	})
}

// JSON returns the connector that writes files with one JSON object per line.
func JSON() stream.SinkConnector {
	return connector("json", "Files with one JSON object per line in a folder. JSON has no NaN and no infinities: they become null.", "partition_by = 'day'")
}

// CSV returns the connector that writes CSV files.
func CSV() stream.SinkConnector {
	return connector("csv", "CSV files in a folder.", "csv_delimiter = ';'",
		stream.Field{Name: "csv_header", Type: stream.Bool, Default: "true", Summary: "Whether each file begins with a line of column names."},
		stream.Field{Name: "csv_delimiter", Type: stream.String, Default: ",", Summary: "One character between fields."},
	)
}

func connector(kind, summary, example string, own ...stream.Field) stream.SinkConnector {
	fields := append([]stream.Field{
		{Name: "path", Type: stream.String, Required: true, Fixed: true, Summary: "Folder on a local disk; made if it is not there. It belongs to one sink of one query."},
		{Name: "partition_by", Type: stream.List, Summary: "Columns of the result that become folders in Hive layout, like country=NO; they are left out of the files. " +
			"A folder's name is cut to 200 bytes: a longer value ends in ~ and a hash there, so keep it in another column too if you need all of it."},
	}, own...)
	fields = append(fields,
		stream.Field{Name: "compact", Type: stream.Bool, Default: "false", Summary: "Whether small files are merged into larger ones as they gather."},
		stream.Field{Name: "target_file_bytes", Type: stream.Bytes, Default: "128 MiB", Min: 1 << 10, Max: 4 << 30, Summary: "Size at which compaction leaves files alone."},
		stream.Field{Name: "grace", Type: stream.Duration, Default: "1 hour", Min: 0, Max: int64(10 * 365 * 24 * time.Hour), Summary: "How long files that compaction replaced are kept under _old."},
	)
	return stream.SinkConnector{
		Spec: stream.Spec{
			Name: kind, Summary: summary,
			Guarantee: "Exactly once: a glob over the folder sees whole batches, each once; `tidemill files` lists the exact set. Local disks only.",
			Fields:    fields,
			Example:   fmt.Sprintf("CREATE SINK per_minute WITH (connector = '%s', path = 'out/per_minute', %s);", kind, example),
		},
		Modes: []stream.Mode{stream.Append, stream.Complete},
		Slots: true,
		Place: place,
		Open: func(_ context.Context, cfg stream.SinkConfig) (stream.Sink, error) {
			opt, err := parse(kind, cfg)
			if err != nil {
				return nil, err
			}
			cfg.FS = vfs.Shared(cfg.FS) // other programs read what is written
			return &sink{cfg: cfg, opt: opt, made: map[string]bool{}}, nil
		},
	}
}

func parse(kind string, cfg stream.SinkConfig) (options, error) {
	opt := options{
		kind: kind, compact: cfg.Options.Bool("compact"),
		targetBytes: cfg.Options.Int("target_file_bytes"), grace: cfg.Options.Duration("grace"),
	}
	if opt.targetBytes == 0 {
		opt.targetBytes = 128 << 20
	}
	if !cfg.Options.Has("grace") {
		opt.grace = time.Hour
	}
	if cfg.Mode == stream.Update {
		return opt, diag.New(diag.SinkMode, "sink %q: %s files can not hold the updates of output mode update",
			cfg.Name, kind).
			WithHint("use OUTPUT MODE APPEND or COMPLETE, or a duckdb sink")
	}
	var err error
	if opt.root, err = cleanRoot(cfg.Name, cfg.Options.String("path")); err != nil {
		return opt, err
	}
	if opt.partition, err = partitionColumns(cfg); err != nil {
		return opt, err
	}
	if opt.codec, err = newCodec(kind, cfg); err != nil {
		return opt, err
	}
	return opt, tryCodec(cfg, opt)
}

// place names the folder, which has one log.
func place(_ string, o stream.Options) string {
	path := o.String("path")
	if path == "" {
		return ""
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return "the folder " + filepath.Clean(path)
}

func cleanRoot(sink, path string) (string, error) {
	switch {
	case path == "":
		return "", diag.New(diag.MissingOption, "sink %q: option \"path\" is empty", sink)
	case strings.ContainsRune(path, 0):
		return "", diag.New(diag.BadOption, "sink %q: path %q holds a zero byte", sink, path)
	case strings.Contains(path, "://"):
		return "", diag.New(diag.BadOption, "sink %q: path %q is a URL; files are written to local disks only", sink, path).
			WithHint("write to a local folder and copy what `tidemill files` lists")
	}
	return filepath.Clean(path), nil
}

func partitionColumns(cfg stream.SinkConfig) ([]int, error) {
	names := cfg.Options.List("partition_by")
	columns := make([]int, 0, len(names))
	seen := map[string]bool{}
	for _, name := range names {
		at := cfg.Schema.FieldIndices(name)
		if len(at) == 0 {
			return nil, unknownColumn(cfg, name)
		}
		if seen[name] {
			return nil, diag.New(diag.BadOption, "sink %q: partition_by names %q twice", cfg.Name, name)
		}
		seen[name] = true
		if len(escape(name)) > partitionName {
			return nil, diag.New(diag.BadOption, "sink %q: the name of column %q is too long for a folder's name", cfg.Name, name).
				WithHint("give the column a shorter name with AS")
		}
		if t := cfg.Schema.Field(at[0]).Type; !partitionable(t) {
			return nil, diag.New(diag.BadOption, "sink %q: column %q of type %s can not name folders",
				cfg.Name, name, t).
				WithHint("partition by text, integers, booleans, decimals, dates or timestamps; cast it in the query")
		}
		columns = append(columns, at[0])
	}
	if len(columns) > 0 && len(columns) == cfg.Schema.NumFields() {
		return nil, diag.New(diag.BadOption,
			"sink %q: partition_by names every column of the result, so the files would have none", cfg.Name)
	}
	return columns, nil
}

func unknownColumn(cfg stream.SinkConfig, name string) error {
	have := make([]string, cfg.Schema.NumFields())
	for i, f := range cfg.Schema.Fields() {
		have[i] = f.Name
	}
	err := diag.New(diag.UnknownColumn, "sink %q: partition_by names column %q, which the result does not have",
		cfg.Name, name).
		WithNote("columns here: %s", strings.Join(have, ", "))
	if near := diag.Near(name, have); near != "" {
		err = err.WithHint("did you mean %q?", near)
	}
	return err
}

// tryCodec writes an empty file of the result's columns to nowhere, so that a type the format does not know
// is refused before the first batch.
func tryCodec(cfg stream.SinkConfig, opt options) (err error) {
	schema := fileSchema(cfg.Schema, opt.partition)
	defer func() {
		if p := recover(); p != nil { // the Parquet library panics on some types it does not know
			err = badType(cfg, opt, fmt.Errorf("%v", p))
		}
	}()
	enc, err := opt.codec.create(io.Discard, schema)
	if err == nil {
		err = enc.close()
	}
	if err != nil {
		return badType(cfg, opt, err)
	}
	return nil
}

func badType(cfg stream.SinkConfig, opt options, cause error) error {
	return diag.Wrap(diag.BadType, cause, "sink %q: a column of the result has no %s form", cfg.Name, opt.kind).
		WithHint("cast the column in the query, for example to VARCHAR")
}

// fileSchema is what the files hold: the result without the columns that name folders.
func fileSchema(schema *arrow.Schema, partition []int) *arrow.Schema {
	fields := make([]arrow.Field, 0, schema.NumFields())
	for i, f := range schema.Fields() {
		if !contains(partition, i) {
			f.Nullable = true
			fields = append(fields, f)
		}
	}
	return arrow.NewSchema(fields, nil)
}

func delimiter(cfg stream.SinkConfig) (byte, error) {
	text := cfg.Options.String("csv_delimiter")
	if text == "" {
		return ',', nil
	}
	if len(text) != 1 || text[0] >= utf8.RuneSelf || strings.ContainsAny(text, "\"\r\n\x00") {
		return 0, diag.New(diag.BadOption,
			"sink %q: csv_delimiter must be one ASCII character that is no quote and no line break, not %q",
			cfg.Name, text)
	}
	return text[0], nil
}
