// The Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html) and a record stream
// over it that owns everything it hands out. See arrow_stream.c.
#ifndef TIDEMILL_ARROW_STREAM_H
#define TIDEMILL_ARROW_STREAM_H

#include <stdint.h>

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

struct ArrowSchema {
  const char *format;
  const char *name;
  const char *metadata;
  int64_t flags;
  int64_t n_children;
  struct ArrowSchema **children;
  struct ArrowSchema *dictionary;
  void (*release)(struct ArrowSchema *);
  void *private_data;
};

struct ArrowArray {
  int64_t length;
  int64_t null_count;
  int64_t offset;
  int64_t n_buffers;
  int64_t n_children;
  const void **buffers;
  struct ArrowArray **children;
  struct ArrowArray *dictionary;
  void (*release)(struct ArrowArray *);
  void *private_data;
};

#endif

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
  int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
  int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
  const char *(*get_last_error)(struct ArrowArrayStream *);
  void (*release)(struct ArrowArrayStream *);
  void *private_data;
};

#endif

typedef struct tidemill_stream {
  struct ArrowArrayStream stream;
  struct ArrowSchema schema;
  struct ArrowArray *arrays;
  int64_t array_count;
  int64_t next;
  int closed;
  void (*schema_release)(struct ArrowSchema *);
  void (*array_release)(struct ArrowArray *);
} tidemill_stream;

// tidemill_stream_new returns a zeroed stream with room for array_count arrays, or NULL without memory. The
// caller fills schema and arrays in place, then calls tidemill_stream_arm.
tidemill_stream *tidemill_stream_new(int64_t array_count);

// tidemill_stream_array returns the place of array i.
struct ArrowArray *tidemill_stream_array(tidemill_stream *s, int64_t i);

// tidemill_stream_arm makes the stream ready to be read once.
void tidemill_stream_arm(tidemill_stream *s);

// tidemill_stream_close gives schema and arrays back to their producer. The struct itself lives on, and a
// reader that comes late gets an error.
void tidemill_stream_close(tidemill_stream *s);

// tidemill_stream_free frees a closed stream. No view may name it any more.
void tidemill_stream_free(tidemill_stream *s);

// tidemill_scan makes the view over the stream. It returns 0, 1 when DuckDB refuses, or 2 when the linked
// DuckDB has no Arrow scan.
int tidemill_scan(uintptr_t connection, const char *view, tidemill_stream *s);

// tidemill_interrupt stops the statement that the connection runs.
void tidemill_interrupt(uintptr_t connection);

#endif
