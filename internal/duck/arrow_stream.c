// A record stream for duckdb_arrow_scan.
//
// DuckDB asks for the schema when it binds the view and drops what it got without the producer's release
// (duckdb_arrow_scan) or with it (the scan); both leak or free twice when the schema is made anew each time.
// So one schema is kept for the life of the stream and lent out as a shallow copy whose release does nothing.
// Arrays are lent the same way: they are given back in one go by tidemill_stream_close, on the caller's
// thread, so no callback into Go runs on a thread of DuckDB.
#include "arrow_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Weak, because the tool that links this package alone does not see the driver's library. The program does:
// the driver itself refers to the symbol. duckdb_state is an enum whose 0 is success.
extern int duckdb_arrow_scan(void *connection, const char *table_name, void *stream) __attribute__((weak));
extern void duckdb_interrupt(void *connection) __attribute__((weak));

static void lent_schema_release(struct ArrowSchema *schema) { schema->release = NULL; }

static void lent_array_release(struct ArrowArray *array) { array->release = NULL; }

static void kept_schema_release(struct ArrowSchema *schema) { (void)schema; }

static void kept_array_release(struct ArrowArray *array) { (void)array; }

static void set_schema_release(struct ArrowSchema *schema, void (*release)(struct ArrowSchema *)) {
  schema->release = release;
  for (int64_t i = 0; i < schema->n_children; i++) {
    set_schema_release(schema->children[i], release);
  }
  if (schema->dictionary) {
    set_schema_release(schema->dictionary, release);
  }
}

static void set_array_release(struct ArrowArray *array, void (*release)(struct ArrowArray *)) {
  array->release = release;
  for (int64_t i = 0; i < array->n_children; i++) {
    set_array_release(array->children[i], release);
  }
  if (array->dictionary) {
    set_array_release(array->dictionary, release);
  }
}

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
  tidemill_stream *s = stream->private_data;
  memset(out, 0, sizeof(*out));
  if (s->closed) {
    return EINVAL;
  }
  // The binder overwrites the children's release; put back ours, so that the next binder finds them alive.
  set_schema_release(&s->schema, kept_schema_release);
  *out = s->schema;
  out->release = lent_schema_release;
  return 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
  tidemill_stream *s = stream->private_data;
  memset(out, 0, sizeof(*out));
  if (s->closed) {
    return EINVAL;
  }
  int64_t i = __atomic_fetch_add(&s->next, 1, __ATOMIC_SEQ_CST);
  if (i < s->array_count) {
    *out = s->arrays[i];
    out->release = lent_array_release;
  }
  return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream) {
  (void)stream;
  return "the record stream is closed";
}

// DuckDB works on a copy of the stream struct; what it points to belongs to the Go side.
static void release(struct ArrowArrayStream *stream) { stream->release = NULL; }

tidemill_stream *tidemill_stream_new(int64_t array_count) {
  tidemill_stream *s = calloc(1, sizeof(*s));
  if (!s) {
    return NULL;
  }
  s->arrays = calloc(array_count > 0 ? (size_t)array_count : 1, sizeof(struct ArrowArray));
  if (!s->arrays) {
    free(s);
    return NULL;
  }
  s->array_count = array_count;
  return s;
}

struct ArrowArray *tidemill_stream_array(tidemill_stream *s, int64_t i) { return &s->arrays[i]; }

void tidemill_stream_arm(tidemill_stream *s) {
  s->stream.get_schema = get_schema;
  s->stream.get_next = get_next;
  s->stream.get_last_error = get_last_error;
  s->stream.release = release;
  s->stream.private_data = s;
  s->schema_release = s->schema.release;
  set_schema_release(&s->schema, kept_schema_release);
  for (int64_t i = 0; i < s->array_count; i++) {
    s->array_release = s->arrays[i].release;
    set_array_release(&s->arrays[i], kept_array_release);
  }
}

void tidemill_stream_close(tidemill_stream *s) {
  if (s->closed) {
    return;
  }
  s->closed = 1;
  set_schema_release(&s->schema, s->schema_release);
  s->schema.release(&s->schema);
  for (int64_t i = 0; i < s->array_count; i++) {
    set_array_release(&s->arrays[i], s->array_release);
    s->arrays[i].release(&s->arrays[i]);
  }
  free(s->arrays);
  s->arrays = NULL;
}

void tidemill_stream_free(tidemill_stream *s) { free(s); }

int tidemill_scan(uintptr_t connection, const char *view, tidemill_stream *s) {
  if (!duckdb_arrow_scan) {
    return 2;
  }
  return duckdb_arrow_scan((void *)connection, view, &s->stream) == 0 ? 0 : 1;
}

void tidemill_interrupt(uintptr_t connection) {
  if (duckdb_interrupt) {
    duckdb_interrupt((void *)connection);
  }
}
