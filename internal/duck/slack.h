// What DuckDB's allocator keeps of memory that has been freed. See slack.go.
#ifndef TIDEMILL_SLACK_H
#define TIDEMILL_SLACK_H

#include <stdint.h>

// tidemill_slack returns how many bytes of the process are resident for the allocator and free, or -1 if it is another one.
int64_t tidemill_slack(void);

// tidemill_purge gives them back to the system.
void tidemill_purge(void);

#endif
