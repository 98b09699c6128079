package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/tidemill/tidemill/internal/flatparquet"
	"github.com/tidemill/tidemill/internal/zstdpages"
	"github.com/tidemill/tidemill/stream"
)

// tables gathers the rows of several Parquet files.
type tables struct {
	records []arrow.Record // one of each file that has rows
	parts   []stream.Part
	unread  []string // columns that are left in the files
	mem     memory.Allocator
}

func (t *tables) release() {
	for _, rec := range t.records {
		rec.Release()
	}
	t.records = nil
}

// take hands the records over.
func (t *tables) take() []arrow.Record {
	records := t.records
	t.records = nil
	return records
}

// add reads the declared columns of one file. A file of which that is not possible as a whole is one broken payload.
func (t *tables) add(ctx context.Context, s *source, c content, x *broken) error {
	rows, err := t.read(ctx, s, c)
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		x.put(c.entry, c.data[:min(len(c.data), chunkBytes)], "the file can not be read as Parquet: "+err.Error())
		return nil //nolint:nilerr // the fault has been noted
	}
	t.parts = append(t.parts, stream.Part{File: c.Path, Sequence: uint64(c.Ordinal) << 40, Rows: rows})
	return nil
}

func (t *tables) read(ctx context.Context, s *source, c content) (rows int64, err error) {
	defer recovered(&err)
	t.mem = s.memory()
	zstdpages.Install()
	pr, err := file.NewParquetReader(bytes.NewReader(c.data))
	if err != nil {
		return 0, err //nolint:wrapcheck // add wraps it
	}
	defer func() { _ = pr.Close() }() // over memory
	dropArrowSchema(pr)
	fr, err := pqarrow.NewFileReader(pr, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return 0, err //nolint:wrapcheck // add wraps it
	}
	rows = pr.NumRows()
	if rows < 0 || rows > arenaMax {
		return 0, fmt.Errorf("it says that it has %d rows", rows)
	}
	if err := namesSome(fr, s.cfg.Columns); err != nil {
		return 0, err
	}
	read := make([]stream.Column, 0, len(s.cfg.Columns))
	columns := make([]arrow.Array, 0, len(s.cfg.Columns))
	defer func() {
		for _, arr := range columns {
			arr.Release() // the record retains them
		}
	}()
	for _, col := range s.cfg.Columns {
		if slices.Contains(t.unread, col.Name) {
			if err := fits(ctx, fr, col); err != nil {
				return 0, err
			}
			continue
		}
		read = append(read, col)
		arr, err := t.column(ctx, fr, col, c)
		if err != nil {
			return 0, err
		}
		if columns = append(columns, arr); int64(arr.Len()) != rows {
			return 0, fmt.Errorf("column %q has %d values for %d rows", col.Name, arr.Len(), rows)
		}
	}
	if rows > 0 {
		t.records = append(t.records, array.NewRecord(schemaOf(read), columns, rows))
	}
	return rows, nil
}

// dropArrowSchema forgets the Arrow schema that a file may carry beside Parquet's. The library trusts its lengths, which in a
// damaged file may ask for more memory than there is, and what it says beyond Parquet's own, that a list is an ARRAY, is what
// the declared type says.
func dropArrowSchema(pr *file.Reader) { pr.MetaData().FileMetaData.KeyValueMetadata = nil }

// column reads one column as its declared type.
func (t *tables) column(ctx context.Context, fr *pqarrow.FileReader, col stream.Column, c content) (arrow.Array, error) {
	rows := fr.ParquetReader().NumRows()
	if col.Metadata {
		return metadata(col, c, rows), nil
	}
	at := fieldOf(fr, col.Name)
	if at < 0 {
		return array.MakeArrayOfNull(memory.DefaultAllocator, col.Arrow, int(rows)), nil
	}
	leaves, err := leavesOf(fr, at, col)
	if err != nil {
		return nil, err
	}
	groups := make([]int, fr.ParquetReader().NumRowGroups())
	for i := range groups {
		groups[i] = i
	}
	if withFields(fr.Manifest.Fields[at].Field.Type) {
		if err := tryLeaves(ctx, fr, leaves, groups); err != nil {
			return nil, fmt.Errorf("column %q: %w", col.Name, err)
		}
	}
	if field := &fr.Manifest.Fields[at]; len(field.Children) == 0 {
		arr, err := flatparquet.Column(flatparquet.File{Reader: fr.ParquetReader(), Data: c.data}, field.ColIndex, field.Field.Type,
			t.mem)
		if err == nil {
			defer arr.Release()
			return checked(ctx, arr, col)
		}
		if !errors.Is(err, flatparquet.ErrUnfit) {
			return nil, fmt.Errorf("column %q: %w", col.Name, err)
		}
	}
	cr, err := fr.GetFieldReader(ctx, at, leaves, groups)
	if err != nil {
		return nil, fmt.Errorf("column %q: %w", col.Name, err)
	}
	defer cr.Release()
	chunked, err := fr.ReadColumn(groups, cr)
	if err != nil {
		return nil, fmt.Errorf("column %q: %w", col.Name, err)
	}
	defer chunked.Release()
	return convert(ctx, chunked, col)
}

// leavesOf returns the leaves of the field that a column is read of.
func leavesOf(fr *pqarrow.FileReader, at int, col stream.Column) (map[int]bool, error) {
	leaves := map[int]bool{}
	addLeaves(&fr.Manifest.Fields[at], leaves)
	if len(leaves) != 1 && !withFields(col.Arrow) {
		return nil, fmt.Errorf("column %q is nested in the file and declared as %s", col.Name, col.Type)
	}
	return leaves, nil
}

// fits refuses a column that could not be read as its declared type, whatever its values are.
func fits(ctx context.Context, fr *pqarrow.FileReader, col stream.Column) error {
	at := fieldOf(fr, col.Name)
	if col.Metadata || at < 0 {
		return nil
	}
	if _, err := leavesOf(fr, at, col); err != nil {
		return err
	}
	none := array.MakeArrayOfNull(memory.DefaultAllocator, fr.Manifest.Fields[at].Field.Type, 0)
	defer none.Release()
	arr, err := converted(ctx, none, col)
	if err == nil {
		arr.Release()
	}
	return err
}

// fieldOf returns which field of the file a name is, or -1.
func fieldOf(fr *pqarrow.FileReader, name string) int {
	return slices.IndexFunc(fr.Manifest.Fields, func(f pqarrow.SchemaField) bool { return f.Field.Name == name })
}

// namesSome refuses a file that has none of the declared columns: every value would be NULL without a word.
func namesSome(fr *pqarrow.FileReader, columns []stream.Column) error {
	var want []string
	for _, col := range columns {
		switch {
		case col.Metadata:
		case fieldOf(fr, col.Name) >= 0:
			return nil
		default:
			want = append(want, col.Name)
		}
	}
	if want == nil {
		return nil
	}
	var names []string
	for _, f := range fr.Manifest.Fields {
		names = append(names, f.Field.Name)
	}
	return fmt.Errorf("it has none of the columns %q; it has %q", want, names)
}

// withFields reports that a type is or holds one with fields: a STRUCT, or a MAP with its keys and values.
func withFields(dt arrow.DataType) bool {
	switch dt := dt.(type) {
	case *arrow.StructType, *arrow.MapType:
		return true
	case arrow.ListLikeType:
		return withFields(dt.Elem())
	}
	return false
}

// tryLeaves decodes every leaf of a column once, here. The reader of a column with fields decodes its leaves on
// goroutines of its own, where a panic over a damaged file would take down the process; what went well here goes well
// there, since it is the same code over the same bytes.
func tryLeaves(ctx context.Context, fr *pqarrow.FileReader, leaves map[int]bool, groups []int) error {
	alone := *fr // sees each leaf as a column of its own
	for _, leaf := range slices.Sorted(maps.Keys(leaves)) {
		f, err := fr.Manifest.GetColumnField(leaf)
		if err != nil {
			return err //nolint:wrapcheck // column wraps it
		}
		alone.Manifest = &pqarrow.SchemaManifest{Fields: []pqarrow.SchemaField{*f}}
		r, err := alone.GetFieldReader(ctx, 0, map[int]bool{leaf: true}, groups)
		if err != nil {
			return err //nolint:wrapcheck // column wraps it
		}
		err = r.LoadBatch(fr.ParquetReader().NumRows())
		r.Release()
		if err != nil {
			return err //nolint:wrapcheck // column wraps it
		}
	}
	return nil
}

func addLeaves(f *pqarrow.SchemaField, leaves map[int]bool) {
	if len(f.Children) == 0 {
		leaves[f.ColIndex] = true
	}
	for i := range f.Children {
		addLeaves(&f.Children[i], leaves)
	}
}

// metadata makes a METADATA column for one file.
func metadata(col stream.Column, c content, rows int64) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, col.Arrow)
	defer b.Release()
	for i := range rows {
		sequence := c.Ordinal<<40 | i
		switch b := b.(type) {
		case *array.StringBuilder:
			if col.Name != "file" {
				b.AppendNull()
				continue
			}
			b.Append(string(bytes.ToValidUTF8([]byte(c.Path), []byte("\uFFFD"))))
		case *array.Int64Builder:
			b.Append(sequence)
		case *array.Uint64Builder:
			b.Append(uint64(sequence))
		case *array.TimestampBuilder:
			b.Append(arrow.Timestamp(c.MTime))
		default:
			b.AppendNull()
		}
	}
	return b.NewArray()
}

func schemaOf(columns []stream.Column) *arrow.Schema {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}
