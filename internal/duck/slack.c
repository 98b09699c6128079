#include "slack.h"

#include <stddef.h>

// Weak for the same reason as in arrow_stream.c, and because not every DuckDB has jemalloc.
extern int duckdb_je_mallctl(const char *name, void *old, size_t *old_size, void *now, size_t now_size) __attribute__((weak));

static int64_t stat(const char *name) {
  size_t value = 0, size = sizeof(value);
  return duckdb_je_mallctl(name, &value, &size, NULL, 0) == 0 ? (int64_t)value : -1;
}

int64_t tidemill_slack(void) {
  if (!duckdb_je_mallctl) {
    return -1;
  }
  uint64_t epoch = 1;
  size_t size = sizeof(epoch);
  if (duckdb_je_mallctl("epoch", &epoch, &size, &epoch, size) != 0) {
    return -1;
  }
  int64_t resident = stat("stats.resident"), active = stat("stats.active");
  return resident < 0 || active < 0 ? -1 : resident - active;
}

void tidemill_purge(void) {
  if (duckdb_je_mallctl) {
    duckdb_je_mallctl("arena.4096.purge", NULL, NULL, NULL, 0); // 4096 stands for all arenas
  }
}
