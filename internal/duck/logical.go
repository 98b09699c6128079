package duck

// #include <stdlib.h>
// #include "arrow_read.h"
//
// // Weak for the same reason as in arrow_stream.c. Handles are pointers, idx_t is uint64_t.
// #define WEAK __attribute__((weak))
// extern int duckdb_get_type_id(void *type) WEAK;
// extern uint8_t duckdb_decimal_width(void *type) WEAK;
// extern uint8_t duckdb_decimal_scale(void *type) WEAK;
// extern void *duckdb_list_type_child_type(void *type) WEAK;
// extern void *duckdb_array_type_child_type(void *type) WEAK;
// extern uint64_t duckdb_array_type_array_size(void *type) WEAK;
// extern void *duckdb_map_type_key_type(void *type) WEAK;
// extern void *duckdb_map_type_value_type(void *type) WEAK;
// extern uint64_t duckdb_struct_type_child_count(void *type) WEAK;
// extern char *duckdb_struct_type_child_name(void *type, uint64_t i) WEAK;
// extern void *duckdb_struct_type_child_type(void *type, uint64_t i) WEAK;
// extern void duckdb_destroy_logical_type(void **type) WEAK;
// extern void duckdb_free(void *p) WEAK;
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
)

// The numbers of duckdb_type that Arrow carries.
const (
	typeBoolean     = 1
	typeTinyint     = 2
	typeSmallint    = 3
	typeInteger     = 4
	typeBigint      = 5
	typeUTinyint    = 6
	typeUSmallint   = 7
	typeUInteger    = 8
	typeUBigint     = 9
	typeFloat       = 10
	typeDouble      = 11
	typeTimestamp   = 12
	typeDate        = 13
	typeTime        = 14
	typeInterval    = 15
	typeHugeint     = 16
	typeVarchar     = 17
	typeBlob        = 18
	typeDecimal     = 19
	typeTimestampS  = 20
	typeTimestampMS = 21
	typeTimestampNS = 22
	typeList        = 24
	typeStruct      = 25
	typeMap         = 26
	typeTimestampTZ = 31
	typeArray       = 33
)

// describe returns what the columns of a result are in Arrow.
func (r *recordReader) describe() (*arrow.Schema, error) {
	fields := make([]arrow.Field, C.tidemill_read_columns(r.c))
	for i := range fields {
		var t unsafe.Pointer
		name := C.GoString(C.tidemill_read_column(r.c, C.int64_t(i), &t))
		typ, err := arrowOf(t)
		if err != nil {
			return nil, internalFault("column %q: %v", name, err)
		}
		fields[i] = arrow.Field{Name: name, Type: typ, Nullable: true}
	}
	return arrow.NewSchema(fields, nil), nil
}

// arrowOf returns the Arrow type in which DuckDB gives a duckdb_logical_type, which it destroys.
func arrowOf(t unsafe.Pointer) (arrow.DataType, error) {
	defer C.duckdb_destroy_logical_type(&t)
	switch id := int(C.duckdb_get_type_id(t)); id {
	case typeDecimal:
		return &arrow.Decimal128Type{Precision: int32(C.duckdb_decimal_width(t)), Scale: int32(C.duckdb_decimal_scale(t))}, nil
	case typeList:
		part, err := arrowOf(C.duckdb_list_type_child_type(t))
		return arrow.ListOfField(arrow.Field{Name: "l", Type: part, Nullable: true}), err
	case typeArray:
		part, err := arrowOf(C.duckdb_array_type_child_type(t))
		return arrow.FixedSizeListOfField(int32(C.duckdb_array_type_array_size(t)), arrow.Field{Name: "a", Type: part, Nullable: true}), err
	case typeMap:
		key, err := arrowOf(C.duckdb_map_type_key_type(t))
		if err != nil {
			return nil, err
		}
		value, err := arrowOf(C.duckdb_map_type_value_type(t))
		return arrow.MapOf(key, value), err
	case typeStruct:
		return arrowStruct(t)
	default:
		if typ := arrowScalars()[id]; typ != nil {
			return typ, nil
		}
		return nil, fmt.Errorf("type number %d has no Arrow type", id)
	}
}

func arrowStruct(t unsafe.Pointer) (arrow.DataType, error) {
	fields := make([]arrow.Field, C.duckdb_struct_type_child_count(t))
	for i := range fields {
		part, err := arrowOf(C.duckdb_struct_type_child_type(t, C.uint64_t(i)))
		if err != nil {
			return nil, err
		}
		name := C.duckdb_struct_type_child_name(t, C.uint64_t(i))
		fields[i] = arrow.Field{Name: C.GoString(name), Type: part, Nullable: true}
		C.duckdb_free(unsafe.Pointer(name))
	}
	return arrow.StructOf(fields...), nil
}

// arrowScalars are the Arrow types of those without parts.
func arrowScalars() map[int]arrow.DataType {
	return map[int]arrow.DataType{
		typeBoolean: arrow.FixedWidthTypes.Boolean, typeTinyint: arrow.PrimitiveTypes.Int8,
		typeSmallint: arrow.PrimitiveTypes.Int16, typeInteger: arrow.PrimitiveTypes.Int32,
		typeBigint: arrow.PrimitiveTypes.Int64, typeUTinyint: arrow.PrimitiveTypes.Uint8,
		typeUSmallint: arrow.PrimitiveTypes.Uint16, typeUInteger: arrow.PrimitiveTypes.Uint32,
		typeUBigint: arrow.PrimitiveTypes.Uint64, typeFloat: arrow.PrimitiveTypes.Float32,
		typeDouble: arrow.PrimitiveTypes.Float64, typeDate: arrow.FixedWidthTypes.Date32,
		typeTime: arrow.FixedWidthTypes.Time64us, typeInterval: arrow.FixedWidthTypes.MonthDayNanoInterval,
		typeVarchar: arrow.BinaryTypes.String, typeBlob: arrow.BinaryTypes.Binary,
		typeTimestamp:   &arrow.TimestampType{Unit: arrow.Microsecond},
		typeTimestampS:  &arrow.TimestampType{Unit: arrow.Second},
		typeTimestampMS: &arrow.TimestampType{Unit: arrow.Millisecond},
		typeTimestampNS: &arrow.TimestampType{Unit: arrow.Nanosecond},
		typeTimestampTZ: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
	}
}

// logicalOf is the other way round: the duckdb_type of a column that is lent as an Arrow type.
func logicalOf(t arrow.DataType) (int, bool) {
	switch t := t.(type) {
	case *arrow.TimestampType:
		return logicalTimestamp(t), true
	case *arrow.FixedSizeBinaryType: // of hugeintField
		return typeHugeint, t.ByteWidth == 16
	case *arrow.LargeStringType:
		return typeVarchar, true
	case *arrow.LargeBinaryType:
		return typeBlob, true
	case *arrow.Decimal128Type:
		return typeDecimal, true
	case *arrow.ListType:
		return typeList, true
	case *arrow.StructType:
		return typeStruct, true
	case *arrow.MapType:
		return typeMap, true
	case *arrow.FixedSizeListType:
		return typeArray, true
	}
	for id, scalar := range arrowScalars() {
		if arrow.TypeEqual(scalar, t) {
			return id, true
		}
	}
	return 0, false
}

func logicalTimestamp(t *arrow.TimestampType) int {
	switch {
	case t.TimeZone != "":
		return typeTimestampTZ
	case t.Unit == arrow.Second:
		return typeTimestampS
	case t.Unit == arrow.Millisecond:
		return typeTimestampMS
	case t.Unit == arrow.Nanosecond:
		return typeTimestampNS
	}
	return typeTimestamp
}
