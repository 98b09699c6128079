package file

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/compute"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/stream"
)

// convert makes one array of the declared type out of chunks. Only conversions that keep every value are
// done, except that times are cut to microseconds.
func convert(ctx context.Context, chunked *arrow.Chunked, col stream.Column) (arrow.Array, error) {
	if len(chunked.Chunks()) == 0 {
		return array.MakeArrayOfNull(memory.DefaultAllocator, col.Arrow, 0), nil
	}
	arr, err := concatenate(chunked.Chunks())
	if err != nil {
		return nil, fmt.Errorf("column %q: %w", col.Name, err)
	}
	defer arr.Release()
	return checked(ctx, arr, col)
}

// checked returns the values of arr in the declared type, if all text is text.
func checked(ctx context.Context, arr arrow.Array, col stream.Column) (arrow.Array, error) {
	out, err := converted(ctx, arr, col)
	if err != nil {
		return nil, err
	}
	if err := validText(out, col); err != nil {
		out.Release()
		return nil, err
	}
	return out, nil
}

// converted returns the values of arr in the declared type.
func converted(ctx context.Context, arr arrow.Array, col stream.Column) (arrow.Array, error) {
	out, err := as(ctx, arr, col.Arrow)
	if err != nil {
		return nil, fmt.Errorf("column %q is %s in the file and declared as %s: %w", col.Name, arr.DataType(), col.Type, err)
	}
	return out, nil
}

// concatenate makes one array of several, for the caller to release. One alone is not copied.
func concatenate(chunks []arrow.Array) (arrow.Array, error) {
	if len(chunks) == 1 {
		chunks[0].Retain()
		return chunks[0], nil
	}
	return array.Concatenate(chunks, memory.DefaultAllocator) //nolint:wrapcheck // the callers wrap it
}

// as returns the values of arr as another type. Nested types are taken apart, because a file names and orders their
// fields as it likes.
func as(ctx context.Context, arr arrow.Array, want arrow.DataType) (arrow.Array, error) {
	from := arr.DataType()
	switch want := want.(type) {
	case *arrow.StructType:
		if s, ok := arr.(*array.Struct); ok {
			return asStruct(ctx, s, want)
		}
		return nil, errType
	case *arrow.MapType:
		if m, ok := arr.(*array.Map); ok {
			return asMap(ctx, m, want)
		}
		return nil, errType
	case *arrow.ListType:
		if l, ok := arr.(*array.List); ok {
			return rebuild(arr, want, func(_ int, values arrow.Array) (arrow.Array, error) {
				return as(ctx, values, want.Elem())
			}, l.Data().Children())
		}
	case *arrow.FixedSizeListType:
		if l, ok := arr.(*array.List); ok {
			return asArray(ctx, l, want)
		}
	}
	if arrow.TypeEqual(from, want) {
		arr.Retain()
		return arr, nil
	}
	if ts, ok := from.(*arrow.TimestampType); ok && want.ID() == arrow.TIMESTAMP && ts.Unit == arrow.Microsecond {
		return relabel(arr, want), nil // the zone says how to print it; the instant is the same
	}
	opts := compute.SafeCastOptions(want)
	opts.AllowTimeTruncate = true
	return compute.CastArray(ctx, arr, opts) //nolint:wrapcheck // convert wraps it
}

// errType says what convert's message leaves open.
var errType = errors.New("one has fields and the other has not, or others")

// rebuild returns arr with another type and other children: those that each makes of the given ones.
func rebuild(
	arr arrow.Array, want arrow.DataType, each func(i int, child arrow.Array) (arrow.Array, error),
	children []arrow.ArrayData,
) (arrow.Array, error) {
	made := make([]arrow.ArrayData, 0, len(children))
	for i, c := range children {
		child := array.MakeFromData(c)
		out, err := each(i, child)
		child.Release()
		if err != nil {
			return nil, err
		}
		defer out.Release()
		made = append(made, out.Data())
	}
	d := arr.Data()
	data := array.NewData(want, d.Len(), d.Buffers(), made, d.NullN(), d.Offset())
	defer data.Release()
	return array.MakeFromData(data), nil
}

// asStruct picks the declared fields by name.
func asStruct(ctx context.Context, s *array.Struct, want *arrow.StructType) (arrow.Array, error) {
	from := s.DataType().(*arrow.StructType) //nolint:forcetypeassert // of a Struct
	picked := make([]arrow.ArrayData, want.NumFields())
	for i, f := range want.Fields() {
		at, ok := from.FieldIdx(f.Name)
		if !ok {
			return nil, fmt.Errorf("it has no field %q", f.Name)
		}
		picked[i] = s.Data().Children()[at]
	}
	return rebuild(s, want, func(i int, child arrow.Array) (arrow.Array, error) {
		out, err := as(ctx, child, want.Field(i).Type)
		if err != nil {
			return nil, fmt.Errorf("field %q: %w", want.Field(i).Name, err)
		}
		return out, nil
	}, picked)
}

// asMap converts keys and values, whatever the file calls them, and refuses a key that is there twice.
func asMap(ctx context.Context, m *array.Map, want *arrow.MapType) (arrow.Array, error) {
	types := []arrow.DataType{want.KeyType(), want.ItemType()}
	pairs := func(_ int, entries arrow.Array) (arrow.Array, error) {
		return rebuild(entries, want.Elem(), func(i int, side arrow.Array) (arrow.Array, error) {
			return as(ctx, side, types[i])
		}, entries.Data().Children())
	}
	out, err := rebuild(m, want, pairs, m.Data().Children())
	if err != nil {
		return nil, err
	}
	if err := distinctKeys(out.(*array.Map)); err != nil { //nolint:forcetypeassert // of a MapType
		out.Release()
		return nil, err
	}
	return out, nil
}

// asArray makes an ARRAY of a list, which is what Parquet has of it: each list must have as many elements as declared.
func asArray(ctx context.Context, l *array.List, want *arrow.FixedSizeListType) (arrow.Array, error) {
	elements, err := elementsOf(l, int64(want.Len()))
	if err != nil {
		return nil, err
	}
	defer elements.Release()
	values, err := as(ctx, elements, want.Elem())
	if err != nil {
		return nil, err
	}
	defer values.Release()
	data := array.NewData(want, l.Len(), []*memory.Buffer{validity(l)}, []arrow.ArrayData{values.Data()}, l.NullN(), 0)
	defer data.Release()
	return array.NewFixedSizeListData(data), nil
}

// elementsOf returns the elements of all lists, each of the given length, NULL for those of a list that is NULL.
func elementsOf(l *array.List, length int64) (arrow.Array, error) {
	var runs []arrow.Array // of lists that follow each other in memory, or are all NULL
	defer func() {
		for _, run := range runs {
			run.Release()
		}
	}()
	for row := 0; row < l.Len(); {
		first, null := row, l.IsNull(row)
		start, end := l.ValueOffsets(row)
		for ; row < l.Len() && l.IsNull(row) == null; row++ {
			var from int64
			if from, end = l.ValueOffsets(row); !null && end-from != length {
				return nil, fmt.Errorf("list %d has %d elements", row+1, end-from)
			}
		}
		if null {
			runs = append(runs, array.MakeArrayOfNull(memory.DefaultAllocator, l.ListValues().DataType(), int(length)*(row-first)))
		} else {
			runs = append(runs, array.NewSlice(l.ListValues(), start, end))
		}
	}
	if len(runs) == 0 {
		return array.NewSlice(l.ListValues(), 0, 0), nil
	}
	return concatenate(runs)
}

// validity returns a copy of the bits that say which values are not NULL, from the first value on; nil if all are not.
func validity(arr arrow.Array) *memory.Buffer {
	if arr.NullN() == 0 {
		return nil
	}
	bits := make([]byte, bitutil.BytesForBits(int64(arr.Len())))
	bitutil.CopyBitmap(arr.NullBitmapBytes(), arr.Data().Offset(), arr.Len(), bits, 0)
	return memory.NewBufferBytes(bits)
}

func distinctKeys(m *array.Map) error {
	for row := range m.Len() {
		start, end := m.ValueOffsets(row)
		if end-start < 2 || m.IsNull(row) {
			continue
		}
		seen := make(map[string]bool, end-start)
		for i := start; i < end; i++ {
			key := m.Keys().ValueStr(int(i))
			if seen[key] {
				return fmt.Errorf("map %d has key %q twice", row+1, key)
			}
			seen[key] = true
		}
	}
	return nil
}

func relabel(arr arrow.Array, dt arrow.DataType) arrow.Array {
	d := arr.Data()
	data := array.NewData(dt, d.Len(), d.Buffers(), nil, d.NullN(), d.Offset())
	defer data.Release()
	return array.MakeFromData(data)
}

// validText checks text, since a file may say UTF-8 and hold something else.
func validText(arr arrow.Array, col stream.Column) error {
	switch a := arr.(type) {
	case *array.String:
		if validTogether(a) {
			return nil
		}
		for i := range a.Len() {
			if a.IsValid(i) && !utf8.ValidString(a.Value(i)) {
				return fmt.Errorf("column %q: row %d is not valid UTF-8", col.Name, i+1)
			}
		}
	case array.ListLike:
		return validText(a.ListValues(), col)
	case *array.Struct:
		for i := range a.NumField() {
			if err := validText(a.Field(i), col); err != nil {
				return err
			}
		}
	}
	return nil
}

// validTogether reports that all values are valid UTF-8, by looking at the bytes of all of them at once: those are
// valid, and no value begins in the middle of a character. What lies under a NULL may make it say no of good values.
func validTogether(a *array.String) bool {
	if a.Len() == 0 {
		return true
	}
	bytes, first := a.ValueBytes(), a.ValueOffset(0)
	if !utf8.Valid(bytes) {
		return false
	}
	for i := range a.Len() {
		if at := a.ValueOffset(i) - first; at < len(bytes) && !utf8.RuneStart(bytes[at]) {
			return false
		}
	}
	return true
}
