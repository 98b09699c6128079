// Results of DuckDB by the Arrow C data interface, with its exceptions caught: the driver's own reader ends the
// process where a chunk does not fit Arrow's offsets. See arrow_read.cc.
#ifndef TIDEMILL_ARROW_READ_H
#define TIDEMILL_ARROW_READ_H

#include "arrow_stream.h"

#ifdef __cplusplus
extern "C" {
#endif

// tidemill_read is a result that is being read.
typedef struct tidemill_read {
  void *result;
  char *error; // what the last call failed with; freed by tidemill_read_close
} tidemill_read;

// tidemill_read_open runs one statement and describes its result. It returns 0, 1 with error set, or 2 when the linked
// DuckDB has no Arrow interface. tidemill_read_close is called in every case.
int tidemill_read_open(uintptr_t connection, const char *sql, tidemill_read *r, struct ArrowSchema *schema);

// tidemill_prepare plans one statement for tidemill_read_prepared to run any number of times. It returns as
// tidemill_read_open does, with the error in r. tidemill_unprepare is called in every case.
int tidemill_prepare(uintptr_t connection, const char *sql, tidemill_read *r, void **statement);

// tidemill_read_prepared runs a prepared statement. The schema is described if it is not NULL; it is the same each time.
int tidemill_read_prepared(void *statement, tidemill_read *r, struct ArrowSchema *schema);

void tidemill_unprepare(void **statement);

// tidemill_read_next gives the next chunk, which the caller releases; one without a release function is the end. It
// returns 0, or 1 with error set.
int tidemill_read_next(tidemill_read *r, struct ArrowArray *out);

void tidemill_read_close(tidemill_read *r);

#ifdef __cplusplus
}
#endif

#endif
