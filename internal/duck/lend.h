// A table function that lends records to a statement, vector by vector. See lend.c.
#ifndef TIDEMILL_LEND_H
#define TIDEMILL_LEND_H

#include <stdint.h>

// tidemill_column is a column, or a part of a nested one: its type, and where the rows of the moment are.
typedef struct tidemill_column {
  char *name;                  // of a column or a field of a STRUCT
  int32_t type;                // a duckdb_type
  int32_t width, scale;        // of a DECIMAL; width is the size of an ARRAY
  int32_t wide;                // offsets are of 64 bits
  int32_t parts;               // LIST, ARRAY: 1; MAP: 1, a STRUCT of key and value; STRUCT: its fields
  struct tidemill_column *part;

  // Where the values are. These are numbers and no pointers, because Go's collector looks at what a pointer was before
  // it is overwritten, which may be gone by then.
  int64_t offset;  // of the first value, in each buffer
  uintptr_t valid; // bitmap as in Arrow; 0 where all values are valid
  uintptr_t fixed; // values, or offsets of VARCHAR, BLOB, LIST and MAP
  uintptr_t text;  // bytes of VARCHAR and BLOB
} tidemill_column;

// tidemill_lent is one record that is lent.
typedef struct tidemill_lent {
  tidemill_column *column;
  int64_t rows;
} tidemill_lent;

// tidemill_lender gives the rows of records, one after the other, under the name of a table function. The function stays as
// long as the instance; whose rows it gives, and which columns they have, may change while no statement reads them.
typedef struct tidemill_lender {
  int32_t columns;
  int32_t room;    // for so many records
  int32_t records; // that are lent, none of them empty
  tidemill_lent *record;
  int64_t rows; // of all records
} tidemill_lender;

// tidemill_lender_new registers a table function without parameters on the instance of a connection. It returns NULL if
// DuckDB refuses it. The lender must live as long as the instance.
tidemill_lender *tidemill_lender_new(uintptr_t connection, const char *function);

// tidemill_lender_free frees a lender whose instance is closed.
void tidemill_lender_free(tidemill_lender *l);

// tidemill_lender_columns gives a lender so many columns in the place of what it had, without room for a record.
void tidemill_lender_columns(tidemill_lender *l, int32_t columns);

// tidemill_lender_room makes room for so many records; the columns of new ones are zero. It returns 0, or 1 without memory.
int tidemill_lender_room(tidemill_lender *l, int32_t records);

// tidemill_lender_record returns the place of record i, for which there is room.
tidemill_lent *tidemill_lender_record(tidemill_lender *l, int32_t i);

// tidemill_column_parts gives a column of a lender so many parts. It returns 0, or 1 without memory.
int tidemill_column_parts(tidemill_column *c, int32_t parts);

// tidemill_column_at returns part i, or column i of a record.
tidemill_column *tidemill_column_at(tidemill_column *first, int32_t i);

#endif
