// A scalar function that finds windows by numbers: DuckDB's time_bucket and its sums with intervals take times apart into
// dates and clocks, row by row.
#include "window.h"

#include <stdbool.h>

// Types of duckdb.h: handles are pointers, idx_t is uint64_t, states are enums whose 0 is success.
typedef void *handle;
typedef uint64_t idx_t;

enum { TYPE_BIGINT = 5, TYPE_TIMESTAMP = 12 };

// Weak for the same reason as in arrow_stream.c.
#define WEAK __attribute__((weak))
extern handle duckdb_create_scalar_function(void) WEAK;
extern void duckdb_destroy_scalar_function(handle *function) WEAK;
extern void duckdb_scalar_function_set_name(handle function, const char *name) WEAK;
extern void duckdb_scalar_function_add_parameter(handle function, handle type) WEAK;
extern void duckdb_scalar_function_set_return_type(handle function, handle type) WEAK;
extern void duckdb_scalar_function_set_function(handle function, void (*call)(handle, handle, handle)) WEAK;
extern void duckdb_scalar_function_set_error(handle info, const char *error) WEAK;
extern int duckdb_register_scalar_function(handle connection, handle function) WEAK;
extern handle duckdb_create_logical_type(int type) WEAK;
extern void duckdb_destroy_logical_type(handle *type) WEAK;
extern idx_t duckdb_data_chunk_get_size(handle chunk) WEAK;
extern handle duckdb_data_chunk_get_vector(handle chunk, idx_t i) WEAK;
extern void *duckdb_vector_get_data(handle vector) WEAK;
extern uint64_t *duckdb_vector_get_validity(handle vector) WEAK;
extern void duckdb_vector_ensure_validity_writable(handle vector) WEAK;

// Timestamps are microseconds since 1970, from the first of DuckDB's days on, and two numbers for the infinities.
static const int64_t timestamp_min = -9223372022400000000, infinity = INT64_MAX;

// window_start finds the window of a time, moves it, and returns false if there is none. How far the time is behind the
// start is reckoned from a beginning on its side of 1970, to which the distance always fits.
static inline bool window_start(int64_t time, int64_t width, int64_t first, int64_t move, int64_t *out) {
  int64_t behind, start;
  *out = time;
  if (time == infinity || time == -infinity) return true;
  if (first < 0 || first >= width) return false;
  behind = (time < 0 ? time + (width - first) : time - first) % width;
  if (behind < 0) behind += width;
  if (__builtin_sub_overflow(time, behind, &start) || __builtin_add_overflow(start, move, &start)) return false;
  *out = start;
  return start >= timestamp_min && start < infinity;
}

static bool null_at(const uint64_t *valid, idx_t i) { return valid && !(valid[i / 64] >> i % 64 & 1); }

static void window_call(handle info, handle in, handle out) {
  const int64_t *args[4];
  const uint64_t *valid[4];
  bool nulls = false;
  for (int a = 0; a < 4; a++) {
    handle vector = duckdb_data_chunk_get_vector(in, (idx_t)a);
    args[a] = duckdb_vector_get_data(vector);
    valid[a] = duckdb_vector_get_validity(vector);
    nulls |= valid[a] != NULL;
  }
  int64_t *starts = duckdb_vector_get_data(out);
  uint64_t *kept = NULL;
  if (nulls) {
    duckdb_vector_ensure_validity_writable(out);
    kept = duckdb_vector_get_validity(out);
  }
  idx_t rows = duckdb_data_chunk_get_size(in);
  for (idx_t i = 0; i < rows; i++) {
    if (nulls && (null_at(valid[0], i) || null_at(valid[1], i) || null_at(valid[2], i) || null_at(valid[3], i))) {
      kept[i / 64] &= ~((uint64_t)1 << i % 64);
    } else if (!window_start(args[0][i], args[1][i], args[2][i], args[3][i], starts + i)) {
      duckdb_scalar_function_set_error(info, "the window of a time does not fit TIMESTAMP");
      return;
    }
  }
}

int tidemill_register_window(uintptr_t connection, const char *name) {
  handle function = duckdb_create_scalar_function();
  handle time = duckdb_create_logical_type(TYPE_TIMESTAMP), number = duckdb_create_logical_type(TYPE_BIGINT);
  duckdb_scalar_function_set_name(function, name);
  duckdb_scalar_function_add_parameter(function, time);
  for (int i = 0; i < 3; i++) duckdb_scalar_function_add_parameter(function, number);
  duckdb_scalar_function_set_return_type(function, time);
  duckdb_scalar_function_set_function(function, window_call);
  int refused = duckdb_register_scalar_function((handle)connection, function);
  duckdb_destroy_logical_type(&time);
  duckdb_destroy_logical_type(&number);
  duckdb_destroy_scalar_function(&function);
  return refused;
}
