// A table function over the rows of records, as they lie in the memory of the batch: texts are pointed at, all else is
// copied a vector at a time, none of which has rows of two records. DuckDB's own scan of Arrow pushes filters into a
// stream that can not filter, and so forces whoever lends rows to it to have them copied first.
//
// One thread reads the rows, in their order.
#include "lend.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// Types of duckdb.h: handles are pointers, idx_t is uint64_t, states are enums whose 0 is success.
typedef void *handle;
typedef uint64_t idx_t;

enum {
  TYPE_BOOLEAN = 1,
  TYPE_INTERVAL = 15,
  TYPE_HUGEINT = 16,
  TYPE_VARCHAR = 17,
  TYPE_BLOB = 18,
  TYPE_DECIMAL = 19,
  TYPE_LIST = 24,
  TYPE_STRUCT = 25,
  TYPE_MAP = 26,
  TYPE_ARRAY = 33,
};

// Weak for the same reason as in arrow_stream.c.
#define WEAK __attribute__((weak))
extern handle duckdb_create_table_function(void) WEAK;
extern void duckdb_destroy_table_function(handle *function) WEAK;
extern void duckdb_table_function_set_name(handle function, const char *name) WEAK;
extern void duckdb_table_function_set_extra_info(handle function, void *info, void (*destroy)(void *)) WEAK;
extern void duckdb_table_function_set_bind(handle function, void (*bind)(handle)) WEAK;
extern void duckdb_table_function_set_init(handle function, void (*init)(handle)) WEAK;
extern void duckdb_table_function_set_function(handle function, void (*call)(handle, handle)) WEAK;
extern void duckdb_table_function_supports_projection_pushdown(handle function, bool pushdown) WEAK;
extern int duckdb_register_table_function(handle connection, handle function) WEAK;
extern void *duckdb_bind_get_extra_info(handle info) WEAK;
extern void duckdb_bind_add_result_column(handle info, const char *name, handle type) WEAK;
extern void duckdb_bind_set_cardinality(handle info, idx_t rows, bool exact) WEAK;
extern void *duckdb_init_get_extra_info(handle info) WEAK;
extern idx_t duckdb_init_get_column_count(handle info) WEAK;
extern idx_t duckdb_init_get_column_index(handle info, idx_t i) WEAK;
extern void duckdb_init_set_init_data(handle info, void *data, void (*destroy)(void *)) WEAK;
extern void duckdb_init_set_error(handle info, const char *error) WEAK;
extern void *duckdb_function_get_extra_info(handle info) WEAK;
extern void *duckdb_function_get_init_data(handle info) WEAK;
extern idx_t duckdb_vector_size(void) WEAK;
extern handle duckdb_data_chunk_get_vector(handle chunk, idx_t i) WEAK;
extern void duckdb_data_chunk_set_size(handle chunk, idx_t size) WEAK;
extern void *duckdb_vector_get_data(handle vector) WEAK;
extern uint64_t *duckdb_vector_get_validity(handle vector) WEAK;
extern void duckdb_vector_ensure_validity_writable(handle vector) WEAK;
extern handle duckdb_list_vector_get_child(handle vector) WEAK;
extern int duckdb_list_vector_set_size(handle vector, idx_t size) WEAK;
extern int duckdb_list_vector_reserve(handle vector, idx_t size) WEAK;
extern handle duckdb_struct_vector_get_child(handle vector, idx_t i) WEAK;
extern handle duckdb_array_vector_get_child(handle vector) WEAK;
extern handle duckdb_create_logical_type(int type) WEAK;
extern handle duckdb_create_list_type(handle part) WEAK;
extern handle duckdb_create_array_type(handle part, idx_t size) WEAK;
extern handle duckdb_create_map_type(handle key, handle value) WEAK;
extern handle duckdb_create_struct_type(handle *parts, const char **names, idx_t n) WEAK;
extern handle duckdb_create_decimal_type(uint8_t width, uint8_t scale) WEAK;
extern void duckdb_destroy_logical_type(handle *type) WEAK;

// text is duckdb_string_t: up to 12 bytes stand in it, of longer ones the first four and where they are.
typedef union {
  struct {
    uint32_t length;
    char inlined[12];
  } small;
  struct {
    uint32_t length;
    char prefix[4];
    const char *at;
  } large;
  uint64_t words[2];
} text;

typedef struct {
  uint64_t offset, length;
} list_entry;

static handle logical_type(const tidemill_column *c);

static handle struct_type(const tidemill_column *c) {
  handle *parts = calloc((size_t)c->parts, sizeof(handle));
  const char **names = calloc((size_t)c->parts, sizeof(char *));
  handle type = NULL;
  if (parts && names) {
    for (int32_t i = 0; i < c->parts; i++) {
      parts[i] = logical_type(&c->part[i]);
      names[i] = c->part[i].name;
    }
    type = duckdb_create_struct_type(parts, names, (idx_t)c->parts);
    for (int32_t i = 0; i < c->parts; i++) {
      duckdb_destroy_logical_type(&parts[i]);
    }
  }
  free(parts);
  free(names);
  return type;
}

static handle map_type(const tidemill_column *entry) {
  handle key = logical_type(&entry->part[0]), value = logical_type(&entry->part[1]);
  handle type = duckdb_create_map_type(key, value);
  duckdb_destroy_logical_type(&key);
  duckdb_destroy_logical_type(&value);
  return type;
}

static handle logical_type(const tidemill_column *c) {
  handle part, type;
  switch (c->type) {
  case TYPE_DECIMAL:
    return duckdb_create_decimal_type((uint8_t)c->width, (uint8_t)c->scale);
  case TYPE_STRUCT:
    return struct_type(c);
  case TYPE_MAP:
    return map_type(&c->part[0]);
  case TYPE_LIST:
  case TYPE_ARRAY:
    part = logical_type(&c->part[0]);
    type = c->type == TYPE_LIST ? duckdb_create_list_type(part) : duckdb_create_array_type(part, (idx_t)c->width);
    duckdb_destroy_logical_type(&part);
    return type;
  default:
    return duckdb_create_logical_type(c->type);
  }
}

static void bind(handle info) {
  const tidemill_lender *l = duckdb_bind_get_extra_info(info);
  const tidemill_column *column = l->record[0].column;
  for (int32_t i = 0; i < l->columns; i++) {
    handle type = logical_type(&column[i]);
    duckdb_bind_add_result_column(info, column[i].name, type);
    duckdb_destroy_logical_type(&type);
  }
  duckdb_bind_set_cardinality(info, (idx_t)l->rows, true);
}

// reading is how far one reader has come, and the columns that it wants.
typedef struct {
  int32_t record;
  int64_t next; // row of it
  idx_t columns;
  idx_t column[];
} reading;

static void init(handle info) {
  idx_t columns = duckdb_init_get_column_count(info);
  reading *r = calloc(1, sizeof(reading) + columns * sizeof(idx_t));
  if (!r) {
    duckdb_init_set_error(info, "no memory to read lent rows");
    return;
  }
  r->columns = columns;
  for (idx_t i = 0; i < columns; i++) {
    r->column[i] = duckdb_init_get_column_index(info, i);
  }
  duckdb_init_set_init_data(info, r, free);
}

static bool bit_at(uintptr_t bits, int64_t i) { return (((const uint8_t *)bits)[i >> 3] >> (i & 7)) & 1; }

// fill_validity marks the values that are NULL, of n from start on.
static void fill_validity(handle vector, const tidemill_column *c, int64_t start, int64_t n) {
  uint8_t *to;
  if (!c->valid || n == 0) {
    return;
  }
  duckdb_vector_ensure_validity_writable(vector);
  to = (uint8_t *)duckdb_vector_get_validity(vector);
  if ((start & 7) == 0) {
    memcpy(to, (const uint8_t *)c->valid + (start >> 3), (size_t)((n + 7) >> 3));
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    uint8_t bit = (uint8_t)(1U << (i & 7));
    to[i >> 3] = bit_at(c->valid, start + i) ? to[i >> 3] | bit : to[i >> 3] & (uint8_t)~bit;
  }
}

static int64_t offset_at(const tidemill_column *c, int64_t i) {
  return c->wide ? ((const int64_t *)c->fixed)[i] : ((const int32_t *)c->fixed)[i];
}

static void fill_text(text *to, const tidemill_column *c, int64_t start, int64_t n) {
  int64_t from = offset_at(c, start);
  for (int64_t i = 0; i < n; i++) {
    int64_t end = offset_at(c, start + i + 1), length = end - from;
    const char *at = (const char *)c->text + from;
    to[i].words[0] = to[i].words[1] = 0;
    to[i].small.length = (uint32_t)length;
    if (length > (int64_t)sizeof(to[i].small.inlined)) {
      memcpy(to[i].large.prefix, at, sizeof(to[i].large.prefix));
      to[i].large.at = at;
    } else if (length > 0) {
      memcpy(to[i].small.inlined, at, (size_t)length);
    }
    from = end;
  }
}

static void fill_boolean(bool *to, const tidemill_column *c, int64_t start, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    to[i] = bit_at(c->fixed, start + i);
  }
}

// fill_decimal narrows values of 16 bytes, low ones first, to what DuckDB keeps that many digits in.
static void fill_decimal(void *to, const tidemill_column *c, int64_t start, int64_t n) {
  const int64_t *from = (const int64_t *)c->fixed + 2 * start;
  if (c->width > 18) {
    memcpy(to, from, (size_t)n * 16);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    if (c->width > 9) {
      ((int64_t *)to)[i] = from[2 * i];
    } else if (c->width > 4) {
      ((int32_t *)to)[i] = (int32_t)from[2 * i];
    } else {
      ((int16_t *)to)[i] = (int16_t)from[2 * i];
    }
  }
}

typedef struct {
  int32_t months, days;
  int64_t fraction; // nanoseconds in Arrow, microseconds in DuckDB
} interval;

static void fill_interval(interval *to, const tidemill_column *c, int64_t start, int64_t n) {
  const interval *from = (const interval *)c->fixed + start;
  for (int64_t i = 0; i < n; i++) {
    to[i] = from[i];
    to[i].fraction /= 1000;
  }
}

static int64_t size_of(int32_t type) {
  switch (type) {
  case 2: // TINYINT, UTINYINT
  case 6:
    return 1;
  case 3: // SMALLINT, USMALLINT
  case 7:
    return 2;
  case 4: // INTEGER, UINTEGER, FLOAT, DATE
  case 8:
  case 10:
  case 13:
    return 4;
  case TYPE_HUGEINT:
    return 16;
  default:
    return 8;
  }
}

// hide makes n values from the one of that number on NULL, and their parts: DuckDB asks a part alone whether it is.
static void hide(handle vector, const tidemill_column *c, int64_t from, int64_t n) {
  uint8_t *valid;
  duckdb_vector_ensure_validity_writable(vector);
  valid = (uint8_t *)duckdb_vector_get_validity(vector);
  for (int64_t i = from; i < from + n; i++) {
    valid[i >> 3] &= (uint8_t) ~(1U << (i & 7));
  }
  if (c->type == TYPE_ARRAY) {
    hide(duckdb_array_vector_get_child(vector), &c->part[0], from * c->width, n * c->width);
  }
  for (int32_t i = 0; c->type == TYPE_STRUCT && i < c->parts; i++) {
    hide(duckdb_struct_vector_get_child(vector, (idx_t)i), &c->part[i], from, n);
  }
}

// hide_parts hides what Arrow has below a NULL of a STRUCT or an ARRAY; each value has so many values of the part.
static void hide_parts(handle part, const tidemill_column *of, const tidemill_column *c, int64_t start, int64_t n,
                       int64_t each) {
  for (int64_t i = 0; of->valid && i < n; i++) {
    if (!bit_at(of->valid, start + i)) {
      hide(part, c, i * each, each);
    }
  }
}

static void fill(handle vector, const tidemill_column *c, int64_t start, int64_t n);

static void fill_struct(handle vector, const tidemill_column *c, int64_t start, int64_t n) {
  for (int32_t i = 0; i < c->parts; i++) {
    handle part = duckdb_struct_vector_get_child(vector, (idx_t)i);
    fill(part, &c->part[i], start, n);
    hide_parts(part, c, &c->part[i], start, n, 1);
  }
}

static void fill_array(handle vector, const tidemill_column *c, int64_t start, int64_t n) {
  handle part = duckdb_array_vector_get_child(vector);
  fill(part, &c->part[0], start * c->width, n * c->width);
  hide_parts(part, c, &c->part[0], start, n, c->width);
}

static void fill_list(handle vector, const tidemill_column *c, int64_t start, int64_t n) {
  list_entry *to = duckdb_vector_get_data(vector);
  int64_t first = offset_at(c, start), end = offset_at(c, start + n);
  for (int64_t i = 0; i < n; i++) {
    to[i].offset = (uint64_t)(offset_at(c, start + i) - first);
    to[i].length = (uint64_t)(offset_at(c, start + i + 1) - offset_at(c, start + i));
  }
  duckdb_list_vector_reserve(vector, (idx_t)(end - first));
  duckdb_list_vector_set_size(vector, (idx_t)(end - first));
  fill(duckdb_list_vector_get_child(vector), &c->part[0], first, end - first);
}

// fill writes n values of c, from the one of that number on, into a vector that has nothing in it.
static void fill(handle vector, const tidemill_column *c, int64_t start, int64_t n) {
  int64_t size;
  start += c->offset;
  fill_validity(vector, c, start, n);
  if (n == 0) {
    return;
  }
  switch (c->type) {
  case TYPE_VARCHAR:
  case TYPE_BLOB:
    fill_text(duckdb_vector_get_data(vector), c, start, n);
    return;
  case TYPE_BOOLEAN:
    fill_boolean(duckdb_vector_get_data(vector), c, start, n);
    return;
  case TYPE_DECIMAL:
    fill_decimal(duckdb_vector_get_data(vector), c, start, n);
    return;
  case TYPE_INTERVAL:
    fill_interval(duckdb_vector_get_data(vector), c, start, n);
    return;
  case TYPE_LIST:
  case TYPE_MAP:
    fill_list(vector, c, start, n);
    return;
  case TYPE_ARRAY:
    fill_array(vector, c, start, n);
    return;
  case TYPE_STRUCT:
    fill_struct(vector, c, start, n);
    return;
  default:
    size = size_of(c->type);
    memcpy(duckdb_vector_get_data(vector), (const char *)c->fixed + start * size, (size_t)(n * size));
  }
}

static void give(handle info, handle chunk) {
  const tidemill_lender *l = duckdb_function_get_extra_info(info);
  reading *r = duckdb_function_get_init_data(info);
  int64_t n = (int64_t)duckdb_vector_size();
  if (r->record >= l->records) {
    duckdb_data_chunk_set_size(chunk, 0);
    return;
  }
  const tidemill_lent *record = &l->record[r->record];
  if (n > record->rows - r->next) {
    n = record->rows - r->next;
  }
  for (idx_t i = 0; i < r->columns; i++) {
    handle vector = duckdb_data_chunk_get_vector(chunk, i);
    if (r->column[i] < (idx_t)l->columns) {
      fill(vector, &record->column[r->column[i]], r->next, n);
    } else { // rows are counted only
      memset(duckdb_vector_get_data(vector), 0, (size_t)n * sizeof(int64_t));
    }
  }
  duckdb_data_chunk_set_size(chunk, (idx_t)n);
  if ((r->next += n) == record->rows) {
    r->record++;
    r->next = 0;
  }
}

tidemill_lender *tidemill_lender_new(uintptr_t connection, const char *name) {
  tidemill_lender *l = calloc(1, sizeof(*l));
  handle function;
  int refused;
  if (!l || !duckdb_create_table_function) {
    free(l);
    return NULL;
  }
  function = duckdb_create_table_function();
  duckdb_table_function_set_name(function, name);
  duckdb_table_function_set_extra_info(function, l, NULL);
  duckdb_table_function_set_bind(function, bind);
  duckdb_table_function_set_init(function, init);
  duckdb_table_function_set_function(function, give);
  duckdb_table_function_supports_projection_pushdown(function, true);
  refused = duckdb_register_table_function((handle)connection, function);
  duckdb_destroy_table_function(&function);
  if (refused) {
    free(l);
    return NULL;
  }
  return l;
}

static void free_columns(tidemill_column *first, int32_t n) {
  for (int32_t i = 0; i < n; i++) {
    free_columns(first[i].part, first[i].parts);
    free(first[i].name);
  }
  free(first);
}

void tidemill_lender_free(tidemill_lender *l) {
  tidemill_lender_columns(l, 0);
  free(l);
}

void tidemill_lender_columns(tidemill_lender *l, int32_t columns) {
  for (int32_t i = 0; i < l->room; i++) {
    free_columns(l->record[i].column, l->columns);
  }
  free(l->record);
  l->record = NULL;
  l->room = l->records = 0;
  l->rows = 0;
  l->columns = columns;
}

int tidemill_lender_room(tidemill_lender *l, int32_t records) {
  tidemill_lent *wider;
  if (records <= l->room) {
    return 0;
  }
  wider = realloc(l->record, (size_t)records * sizeof(tidemill_lent));
  if (!wider) {
    return 1;
  }
  for (l->record = wider; l->room < records; l->room++) {
    tidemill_lent *r = &l->record[l->room];
    r->rows = 0;
    r->column = calloc((size_t)l->columns + 1, sizeof(tidemill_column)) /* never of nothing */;
    if (!r->column) {
      return 1;
    }
  }
  return 0;
}

tidemill_lent *tidemill_lender_record(tidemill_lender *l, int32_t i) { return &l->record[i]; }

int tidemill_column_parts(tidemill_column *c, int32_t parts) {
  c->part = calloc((size_t)parts, sizeof(tidemill_column));
  if (!c->part) {
    return 1;
  }
  c->parts = parts;
  return 0;
}

tidemill_column *tidemill_column_at(tidemill_column *first, int32_t i) { return &first[i]; }
