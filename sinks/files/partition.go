package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/compute"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
)

const (
	hiveNull       = "__HIVE_DEFAULT_PARTITION__" // what Hive, Spark and DuckDB write for NULL
	partitionsMax  = 10_000                       // folders that one batch may write to
	partitionBytes = 200                          // of one encoded name=value; file systems allow 255
	partitionName  = 100                          // of these, most that the encoded name may take
)

// group is the part of a batch that goes to one folder.
type group struct {
	dir     string // below the root, with slashes and a final one; "" for the root
	records []arrow.Record
}

func (g *group) release() {
	for _, r := range g.records {
		r.Release()
	}
}

// split sorts a batch's rows into folders, in the order of the folders' names; rows keep their order within
// one. The caller releases the groups.
func split(ctx context.Context, records []arrow.Record, schema *arrow.Schema, partition []int) ([]*group, error) {
	if len(partition) == 0 {
		g := &group{}
		for _, r := range records {
			g.records = append(g.records, project(r, schema, partition))
		}
		return []*group{g}, nil
	}
	byDir := map[string]*group{}
	var groups []*group
	for _, r := range records {
		rows := rowsByDir(r, partition)
		wide := project(r, schema, partition)
		for _, dir := range sortedKeys(rows) {
			g := byDir[dir]
			if g == nil {
				g = &group{dir: dir}
				byDir[dir] = g
				groups = append(groups, g)
			}
			part, err := takeRows(ctx, wide, rows[dir])
			if err != nil {
				wide.Release()
				return groups, err
			}
			g.records = append(g.records, part)
		}
		wide.Release()
	}
	slices.SortFunc(groups, func(a, b *group) int { return strings.Compare(a.dir, b.dir) })
	if len(groups) > partitionsMax {
		return groups, diag.New(diag.SinkFailed, "one batch has rows for %d folders, more than %d", len(groups), partitionsMax).
			WithNote("nothing of the batch was written; it is tried again at every start").
			WithHint("change partition_by to columns with fewer values and start again: the batch then runs with it")
	}
	return groups, nil
}

func rowsByDir(r arrow.Record, partition []int) map[string][]int32 {
	rows := map[string][]int32{}
	var dir strings.Builder
	for i := range int(r.NumRows()) {
		dir.Reset()
		for _, c := range partition {
			dir.WriteString(hiveSegment(r.ColumnName(c), r.Column(c), i))
			dir.WriteByte('/')
		}
		rows[dir.String()] = append(rows[dir.String()], int32(i)) //nolint:gosec // a record has fewer rows
	}
	return rows
}

// hiveSegment returns name=value with everything percent-encoded that could mean something to a path, and a value that
// is too long cut.
func hiveSegment(name string, column arrow.Array, row int) string {
	value := hiveNull
	if column.IsValid(row) {
		value = escape(hiveText(column, row))
		if value == hiveNull || strings.EqualFold(value, "NULL") { // DuckDB takes that for NULL
			value = fmt.Sprintf("%%%02X", value[0]) + value[1:]
		}
	}
	head := escape(name) + "="
	return head + shorten(value, partitionBytes-len(head))
}

// shorten cuts an encoded value that is too long for a folder's name, and ends it in '~' and a hash of all of it:
// different values stay different folders. No other value has a '~', which escape encodes.
func shorten(value string, bytesMax int) string {
	if len(value) <= bytesMax {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	tail := "~" + hex.EncodeToString(sum[:8])
	cut := value[:bytesMax-len(tail)]
	if at := strings.LastIndexByte(cut, '%'); at >= len(cut)-2 && at >= 0 { // not in the middle of %XX
		cut = cut[:at]
	}
	return cut + tail
}

// hiveText is the value as DuckDB would cast it to VARCHAR, so that reading the folder gives the same value.
func hiveText(column arrow.Array, row int) string {
	switch a := column.(type) {
	case *array.Timestamp:
		if v := a.Value(row); v == math.MaxInt64 || v == -math.MaxInt64 {
			return infinity(v < 0)
		}
		unit := a.DataType().(*arrow.TimestampType).Unit //nolint:forcetypeassert // an Arrow timestamp array has this type
		return trimZeros(a.Value(row).ToTime(unit).UTC().Format("2006-01-02 15:04:05.000000"))
	case *array.Date32:
		if v := a.Value(row); v == math.MaxInt32 || v == -math.MaxInt32 {
			return infinity(v < 0)
		}
		return a.Value(row).ToTime().UTC().Format(time.DateOnly)
	case *array.Boolean:
		return fmt.Sprint(a.Value(row))
	}
	return column.ValueStr(row)
}

// infinity is what DuckDB keeps at the two ends of the range of dates and timestamps.
func infinity(negative bool) string {
	if negative {
		return "-infinity"
	}
	return "infinity"
}

func trimZeros(text string) string {
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}

// escape percent-encodes every byte but ASCII letters, digits, '-', '_' and '.'.
func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func partitionable(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.STRING, arrow.BOOL, arrow.DATE32, arrow.TIMESTAMP, arrow.DECIMAL128,
		arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		return true
	}
	return false
}

// project leaves out the columns that name folders. The caller releases the record.
func project(r arrow.Record, schema *arrow.Schema, partition []int) arrow.Record {
	columns := make([]arrow.Array, 0, schema.NumFields())
	for i, c := range r.Columns() {
		if !contains(partition, i) {
			columns = append(columns, c)
		}
	}
	return array.NewRecord(schema, columns, r.NumRows())
}

// takeRows returns the given rows of r, in their order. The caller releases the record.
func takeRows(ctx context.Context, r arrow.Record, rows []int32) (arrow.Record, error) {
	if len(rows) == int(r.NumRows()) {
		r.Retain()
		return r, nil
	}
	b := array.NewInt32Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(rows, nil)
	indices := b.NewInt32Array()
	defer indices.Release()
	columns := make([]arrow.Array, 0, r.NumCols())
	defer func() {
		for _, c := range columns {
			c.Release()
		}
	}()
	for _, c := range r.Columns() {
		taken, err := takeColumn(ctx, c, indices)
		if err != nil {
			return nil, fmt.Errorf("select rows of a folder: %w", err)
		}
		columns = append(columns, taken)
	}
	return array.NewRecord(r.Schema(), columns, int64(len(rows))), nil
}

func takeColumn(ctx context.Context, c arrow.Array, indices *array.Int32) (arrow.Array, error) {
	if !holdsMap(c.DataType()) {
		return compute.TakeArray(ctx, c, indices) //nolint:wrapcheck // takeRows does
	}
	// Arrow's take knows no maps: join slices, one per run of neighbouring rows.
	var runs []arrow.Array
	defer func() {
		for _, run := range runs {
			run.Release()
		}
	}()
	rows := indices.Int32Values()
	for start := 0; start < len(rows); {
		end := start + 1
		for end < len(rows) && rows[end] == rows[end-1]+1 {
			end++
		}
		runs = append(runs, array.NewSlice(c, int64(rows[start]), int64(rows[end-1])+1))
		start = end
	}
	return array.Concatenate(runs, memory.DefaultAllocator) //nolint:wrapcheck // takeRows does
}

func holdsMap(t arrow.DataType) bool {
	if t.ID() == arrow.MAP {
		return true
	}
	nested, ok := t.(arrow.NestedType)
	return ok && slices.ContainsFunc(nested.Fields(), func(f arrow.Field) bool { return holdsMap(f.Type) })
}

func contains(list []int, x int) bool { return slices.Contains(list, x) }

func sortedKeys(m map[string][]int32) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
