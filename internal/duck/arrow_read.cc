#include "arrow_read.h"

#include <time.h>

#include <cstdlib>
#include <cstring>
#include <exception>

// Weak for the same reason as in arrow_stream.c. Handles of duckdb.h are pointers, and its states enums whose 0 is
// success.
#define WEAK __attribute__((weak))
extern "C" {
extern uint64_t duckdb_extract_statements(void *connection, const char *query, void **out) WEAK;
extern const char *duckdb_extract_statements_error(void *statements) WEAK;
extern void duckdb_destroy_extracted(void **statements) WEAK;
extern int duckdb_prepare_extracted_statement(void *connection, void *statements, uint64_t n, void **out) WEAK;
extern int64_t duckdb_value_int64(tidemill_result *result, uint64_t column, uint64_t row) WEAK;
extern int duckdb_prepare(void *connection, const char *query, void **out) WEAK;
extern const char *duckdb_prepare_error(void *statement) WEAK;
extern void duckdb_destroy_prepare(void **statement) WEAK;
extern int duckdb_pending_prepared(void *statement, void **out) WEAK;
extern int duckdb_pending_prepared_streaming(void *statement, void **out) WEAK;
extern int duckdb_pending_execute_task(void *pending) WEAK;
extern const char *duckdb_pending_error(void *pending) WEAK;
extern int duckdb_execute_pending(void *pending, tidemill_result *out) WEAK;
extern void duckdb_destroy_pending(void **pending) WEAK;
extern const char *duckdb_result_error(tidemill_result *result) WEAK;
extern uint64_t duckdb_column_count(tidemill_result *result) WEAK;
extern const char *duckdb_column_name(tidemill_result *result, uint64_t i) WEAK;
extern void *duckdb_column_logical_type(tidemill_result *result, uint64_t i) WEAK;
extern void *duckdb_fetch_chunk(tidemill_result result) WEAK;
extern void duckdb_result_arrow_array(tidemill_result result, void *chunk, void **out) WEAK;
extern void duckdb_destroy_data_chunk(void **chunk) WEAK;
extern void duckdb_destroy_result(tidemill_result *result) WEAK;
}

enum pending_state { READY, NOT_READY, FAILED, NO_TASKS };

static int failed(tidemill_read *r, const char *why) {
  char *copy = strdup(why ? why : "no reason given");
  free(r->error);
  r->error = copy;
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

int tidemill_prepare(uintptr_t connection, const char *sql, tidemill_read *r, void **statement) {
  if (!duckdb_prepare || !duckdb_result_arrow_array || !duckdb_pending_prepared_streaming) {
    return 2;
  }
  return guarded(r, [&] {
    return duckdb_prepare(reinterpret_cast<void *>(connection), sql, statement) == 0
               ? 0
               : failed(r, *statement ? duckdb_prepare_error(*statement) : nullptr);
  });
}

// rest gives the core away while other threads have all the work of a statement, but for the first few turns: a short one
// is done by then. DuckDB itself would ask for a task over and over, which takes a core from them.
static void rest(int turns) {
  const timespec moment = {0, 20000};
  if (turns >= 64) {
    nanosleep(&moment, nullptr);
  }
}

static int finish(void *pending, tidemill_read *r) {
  for (int idle = 0;;) {
    switch (duckdb_pending_execute_task(pending)) {
    case READY:
      return duckdb_execute_pending(pending, &r->result) == 0 ? 0 : failed(r, duckdb_result_error(&r->result));
    case FAILED:
      return failed(r, duckdb_pending_error(pending));
    case NO_TASKS:
      rest(idle++);
      break;
    default:
      idle = 0;
    }
  }
}

static void drop(tidemill_read *r) {
  if (r->result.data) {
    duckdb_destroy_result(&r->result);
  }
  memset(&r->result, 0, sizeof(r->result));
}

// carry_out runs a statement, to its end or until the first of its rows are there.
static int carry_out(void *statement, tidemill_read *r, int (*begin)(void *, void **)) {
  void *pending = nullptr;
  drop(r);
  int state = begin(statement, &pending) == 0
                  ? finish(pending, r)
                  : failed(r, pending ? duckdb_pending_error(pending) : nullptr);
  if (pending) {
    duckdb_destroy_pending(&pending);
  }
  return state;
}

int tidemill_read_open(void *statement, tidemill_read *r) {
  return guarded(r, [&] { return carry_out(statement, r, duckdb_pending_prepared_streaming); });
}

// run_one runs number i of the statements of a text.
static int run_one(void *connection, void *statements, uint64_t i, tidemill_read *r) {
  void *statement = nullptr;
  int state = duckdb_prepare_extracted_statement(connection, statements, i, &statement) == 0
                  ? carry_out(statement, r, duckdb_pending_prepared)
                  : failed(r, statement ? duckdb_prepare_error(statement) : nullptr);
  tidemill_unprepare(&statement);
  return state;
}

int tidemill_run(uintptr_t connection, const char *sql, tidemill_read *r, int64_t *changed) {
  if (!duckdb_extract_statements) {
    return 2;
  }
  return guarded(r, [&] {
    void *con = reinterpret_cast<void *>(connection), *statements = nullptr;
    uint64_t n = duckdb_extract_statements(con, sql, &statements);
    const char *why = n == 0 ? duckdb_extract_statements_error(statements) : nullptr;
    int state = n == 0 ? failed(r, why ? why : "there is no statement") : 0;
    for (uint64_t i = 0; state == 0 && i < n; i++) {
      state = run_one(con, statements, i, r);
    }
    duckdb_destroy_extracted(&statements);
    *changed = state == 0 ? duckdb_value_int64(&r->result, 0, 0) : 0;
    return state;
  });
}

void tidemill_unprepare(void **statement) {
  if (*statement) {
    duckdb_destroy_prepare(statement);
  }
}

int64_t tidemill_read_columns(tidemill_read *r) { return static_cast<int64_t>(duckdb_column_count(&r->result)); }

const char *tidemill_read_column(tidemill_read *r, int64_t i, void **type) {
  *type = duckdb_column_logical_type(&r->result, static_cast<uint64_t>(i));
  return duckdb_column_name(&r->result, static_cast<uint64_t>(i));
}

int tidemill_read_next(tidemill_read *r, struct ArrowArray *out) {
  void *chunk = nullptr;
  memset(out, 0, sizeof(*out));
  int state = guarded(r, [&] {
    void *to = out;
    chunk = duckdb_fetch_chunk(r->result);
    if (chunk) {
      duckdb_result_arrow_array(r->result, chunk, &to);
      return 0;
    }
    const char *why = duckdb_result_error(&r->result);
    return why && *why ? 2 * failed(r, why) : 0;
  });
  if (chunk) {
    duckdb_destroy_data_chunk(&chunk);
  }
  return state;
}

void tidemill_read_close(tidemill_read *r) {
  guarded(r, [&] {
    drop(r);
    return 0;
  });
  free(r->error);
  r->error = nullptr;
}
