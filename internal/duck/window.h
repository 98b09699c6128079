#ifndef TIDEMILL_DUCK_WINDOW_H
#define TIDEMILL_DUCK_WINDOW_H

#include <stddef.h>
#include <stdint.h>

// tidemill_register_window makes name(time TIMESTAMP, width BIGINT, first BIGINT, move BIGINT) a function of the connection's
// instance, see WindowSQL, and returns 0 if it is one.
int tidemill_register_window(uintptr_t connection, const char *name);

#endif
