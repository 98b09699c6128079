package sqlfront

import "github.com/tidemill/tidemill/planner"

// Prelude returns the time windows as macros for a stock DuckDB 1.1 shell, so that it runs the body of a
// query as it is. The parameters have reserved names, because a column of the same name would win over a
// parameter.
func Prelude() string {
	return `CREATE OR REPLACE MACRO tumble
  (__src, __ts, __size) AS TABLE (
    SELECT *, time_bucket(__size, __ts, TIMESTAMP '1970-01-01') AS window_start,
      time_bucket(__size, __ts, TIMESTAMP '1970-01-01') + __size AS window_end
    FROM query_table(__src) WHERE __ts IS NOT NULL),
  (__src, __ts, __size, __offset) AS TABLE (
    SELECT *, time_bucket(__size, __ts, TIMESTAMP '1970-01-01' + __offset) AS window_start,
      time_bucket(__size, __ts, TIMESTAMP '1970-01-01' + __offset) + __size AS window_end
    FROM query_table(__src) WHERE __ts IS NOT NULL);

CREATE OR REPLACE MACRO hop(__src, __ts, __slide, __size) AS TABLE
  SELECT * EXCLUDE (__start), __start AS window_start, __start + __size AS window_end
  FROM (
    SELECT *, unnest(range(
      time_bucket(__slide, __ts, TIMESTAMP '1970-01-01') - __size + __slide,
      time_bucket(__slide, __ts, TIMESTAMP '1970-01-01') + __slide,
      __slide)) AS __start
    FROM query_table(__src) WHERE __ts IS NOT NULL);

CREATE OR REPLACE MACRO ` + planner.SessionMacro + ";\n"
}
