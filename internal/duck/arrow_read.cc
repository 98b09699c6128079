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
extern int duckdb_prepare(void *connection, const char *query, void **out) __attribute__((weak));
extern const char *duckdb_prepare_error(void *statement) __attribute__((weak));
extern int duckdb_execute_prepared_arrow(void *statement, void **out) __attribute__((weak));
extern void duckdb_destroy_prepare(void **statement) __attribute__((weak));
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

static int describe(tidemill_read *r, struct ArrowSchema *schema) {
  void *out = schema;
  return duckdb_query_arrow_schema(r->result, &out) == 0 ? 0 : failed(r, "the result has no Arrow schema");
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
    return describe(r, schema);
  });
}

int tidemill_prepare(uintptr_t connection, const char *sql, tidemill_read *r, void **statement) {
  if (!duckdb_prepare || !duckdb_execute_prepared_arrow || !duckdb_query_arrow_schema || !duckdb_query_arrow_array) {
    return 2;
  }
  return guarded(r, [&] {
    return duckdb_prepare(reinterpret_cast<void *>(connection), sql, statement) == 0
               ? 0
               : failed(r, *statement ? duckdb_prepare_error(*statement) : nullptr);
  });
}

int tidemill_read_prepared(void *statement, tidemill_read *r, struct ArrowSchema *schema) {
  return guarded(r, [&] {
    if (duckdb_execute_prepared_arrow(statement, &r->result) != 0) {
      return failed(r, r->result ? duckdb_query_arrow_error(r->result) : nullptr);
    }
    if (!schema) {
      return 0;
    }
    memset(schema, 0, sizeof(*schema));
    return describe(r, schema);
  });
}

void tidemill_unprepare(void **statement) {
  if (*statement) {
    duckdb_destroy_prepare(statement);
  }
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
