package parquetenc

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/apache/arrow/go/v17/parquet/schema"
)

// step is one level of nesting on the way from a column to a leaf.
type step struct {
	nullable bool // NULL ends the way here
	kind     kind
	child    int // of a group
}

type kind int

const (
	leafStep  kind = iota // the values themselves
	groupStep             // the child of a STRUCT
	listStep              // the elements of a LIST, ARRAY or MAP
)

// leaf is one column of the file.
type leaf struct {
	field int // of the schema, which is where the way begins
	way   []step
	typ   arrow.DataType
}

// leaves lists the leaves of a schema in the order of a file's columns.
func leaves(s *arrow.Schema) []leaf {
	var all []leaf
	for i, f := range s.Fields() {
		all = addLeaves(all, leaf{field: i}, f)
	}
	return all
}

func addLeaves(all []leaf, at leaf, f arrow.Field) []leaf {
	further := func(k kind, child int, f arrow.Field, nullable bool) {
		way := append(at.way[:len(at.way):len(at.way)], step{nullable: nullable, kind: k, child: child})
		all = addLeaves(all, leaf{field: at.field, way: way}, f)
	}
	switch t := f.Type.(type) {
	case *arrow.StructType:
		for i, part := range t.Fields() {
			further(groupStep, i, part, f.Nullable)
		}
	case *arrow.MapType:
		entry := arrow.Field{Type: t.Elem()} // a pair is never NULL
		further(listStep, 0, entry, f.Nullable)
	case arrow.ListLikeType:
		element := arrow.Field{Type: t.Elem(), Nullable: true}
		further(listStep, 0, element, f.Nullable)
	default:
		way := append(at.way[:len(at.way):len(at.way)], step{nullable: f.Nullable, kind: leafStep})
		all = append(all, leaf{field: at.field, way: way, typ: f.Type})
	}
	return all
}

// readable is s for readers in Arrow: with lists instead of arrays of fixed length. Arrow's own reader refuses an array that
// is NULL, as the file has it as an empty one.
func readable(s *arrow.Schema) *arrow.Schema {
	return arrow.NewSchema(readableFields(s.Fields()), nil)
}

func readableFields(fields []arrow.Field) []arrow.Field {
	all := make([]arrow.Field, len(fields))
	for i, f := range fields {
		f.Type = readableType(f.Type)
		all[i] = f
	}
	return all
}

func readableType(t arrow.DataType) arrow.DataType {
	element := func(f arrow.Field) arrow.Field {
		f.Type = readableType(f.Type)
		return f
	}
	switch t := t.(type) {
	case *arrow.FixedSizeListType:
		return arrow.ListOfField(element(t.ElemField()))
	case *arrow.ListType:
		return arrow.ListOfField(element(t.ElemField()))
	case *arrow.MapType:
		return arrow.MapOf(readableType(t.KeyType()), readableType(t.ItemType()))
	case *arrow.StructType:
		return arrow.StructOf(readableFields(t.Fields())...)
	}
	return t
}

// fileSchema is the schema of a file for the columns of s.
func fileSchema(s *arrow.Schema) (*schema.Schema, error) {
	props := parquet.NewWriterProperties(parquet.WithVersion(parquet.V2_LATEST)) // older ones have no microseconds without a zone
	made, err := pqarrow.ToParquet(s, props, pqarrow.NewArrowWriterProperties())
	if err != nil {
		return nil, fmt.Errorf("make parquet schema: %w", err)
	}
	root, err := localTimes(made.Root())
	if err != nil {
		return nil, fmt.Errorf("make parquet schema: %w", err)
	}
	return schema.NewSchema(root.(*schema.GroupNode)), nil //nolint:forcetypeassert // a group stays one
}

// localTimes says of every TIME that it is nobody's but the clock's on the wall. The library says UTC, which DuckDB reads as
// TIME WITH TIME ZONE, and has no option for it.
func localTimes(n schema.Node) (schema.Node, error) {
	group, ok := n.(*schema.GroupNode)
	if !ok {
		t, ok := n.LogicalType().(*schema.TimeLogicalType)
		if !ok {
			return n, nil
		}
		physical := n.(*schema.PrimitiveNode).PhysicalType() //nolint:forcetypeassert // no group, so a primitive
		return schema.NewPrimitiveNodeLogical(n.Name(), n.RepetitionType(), schema.NewTimeLogicalType(false, t.TimeUnit()), physical, -1, n.FieldID())
	}
	fields := make(schema.FieldList, group.NumFields())
	for i := range fields {
		var err error
		if fields[i], err = localTimes(group.Field(i)); err != nil {
			return nil, err
		}
	}
	if n.LogicalType().IsNone() {
		return schema.NewGroupNode(n.Name(), n.RepetitionType(), fields, n.FieldID())
	}
	return schema.NewGroupNodeLogical(n.Name(), n.RepetitionType(), fields, n.LogicalType(), n.FieldID())
}
