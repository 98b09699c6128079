#include "arrow_read.h"

#include <cstdlib>
#include <cstring>
#include <exception>

// Weak for the same reason as in arrow_stream.c. The types of duckdb.h are pointers, and its states enums whose 0 is
// success.
extern "C" {
extern int duckdb_query_arrow(void *connection, const char *query, void **out) __attribute__((weak));
extern int duckdb_query_arrow_schema(void *result, void **out) __attribute__((weak));
extern int duckdb_query_arrow_array(void *result, void **out) __attribute__((weak));
extern const char *duckdb_query_arrow_error(void *result) __attribute__((weak));
extern void duckdb_destroy_arrow(void **result) __attribute__((weak));
}

static int failed(tidemill_read *r, const char *why) {
  free(r->error);
  r->error = strdup(why ? why : "no reason given");
  return 1;
}

// guarded runs a call of DuckDB. Nothing may be thrown through the frames of Go.
template <class F> static int guarded(tidemill_read *r, F call) {
  try {
    return call();
  } catch (const std::exception &e) {
    return failed(r, e.what());
  } catch (...) {
    return failed(r, "an exception of an unknown type");
  }
}

int tidemill_read_open(uintptr_t connection, const char *sql, tidemill_read *r, struct ArrowSchema *schema) {
  memset(schema, 0, sizeof(*schema));
  if (!duckdb_query_arrow || !duckdb_query_arrow_schema || !duckdb_query_arrow_array) {
    return 2;
  }
  return guarded(r, [&] {
    if (duckdb_query_arrow(reinterpret_cast<void *>(connection), sql, &r->result) != 0) {
      return failed(r, r->result ? duckdb_query_arrow_error(r->result) : nullptr);
    }
    void *out = schema;
    return duckdb_query_arrow_schema(r->result, &out) == 0 ? 0 : failed(r, "the result has no Arrow schema");
  });
}

int tidemill_read_next(tidemill_read *r, struct ArrowArray *out) {
  memset(out, 0, sizeof(*out));
  return guarded(r, [&] {
    void *to = out;
    return duckdb_query_arrow_array(r->result, &to) == 0 ? 0 : failed(r, duckdb_query_arrow_error(r->result));
  });
}

void tidemill_read_close(tidemill_read *r) {
  if (r->result) {
    guarded(r, [&] {
      duckdb_destroy_arrow(&r->result);
      return 0;
    });
  }
  r->result = nullptr;
  free(r->error);
  r->error = nullptr;
}
