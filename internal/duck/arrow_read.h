// Results of DuckDB by the Arrow C data interface, with its exceptions caught: the driver's own reader ends the
// process where a chunk does not fit Arrow's offsets. See arrow_read.cc.
#ifndef TIDEMILL_ARROW_READ_H
#define TIDEMILL_ARROW_READ_H

#include "arrow_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

// tidemill_result is laid out as duckdb_result.
typedef struct tidemill_result {
  uint64_t counts[3];
  void *columns;
  char *message;
  void *data;
} tidemill_result;

// tidemill_read is a result that is being read.
typedef struct tidemill_read {
  tidemill_result result;
  char *error; // what the last call failed with; freed by tidemill_read_close
} tidemill_read;

// tidemill_run runs the statements of a text and says how many rows the last one changed. It returns as tidemill_prepare
// does.
int tidemill_run(uintptr_t connection, const char *sql, tidemill_read *r, int64_t *changed);

// tidemill_prepare plans one statement for tidemill_read_open to run any number of times. It returns 0, 1 with the error in
// r, or 2 when the linked DuckDB has no Arrow interface. tidemill_unprepare is called in every case.
int tidemill_prepare(uintptr_t connection, const char *sql, tidemill_read *r, void **statement);

// tidemill_read_open runs a prepared statement until the first rows are there. It returns 0, or 1 with error set. The
// connection runs nothing else until tidemill_read_close.
int tidemill_read_open(void *statement, tidemill_read *r);

void tidemill_unprepare(void **statement);

// tidemill_read_columns returns how many columns the result has, tidemill_read_column the name of one, which belongs to
// the result, and its type, a duckdb_logical_type that the caller destroys.
int64_t tidemill_read_columns(tidemill_read *r);
const char *tidemill_read_column(tidemill_read *r, int64_t i, void **type);

// tidemill_read_next gives the next chunk, which the caller releases; one without a release function is the end. It
// returns 0, 1 with error set where Arrow does not take the chunk, or 2 with error set where the statement has failed.
int tidemill_read_next(tidemill_read *r, struct ArrowArray *out);

void tidemill_read_close(tidemill_read *r);

#ifdef __cplusplus
}
#endif

#endif
