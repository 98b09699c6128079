// Package difftest proves by machine what Tidemill claims: whatever slices the input into batches and
// whatever stops or kills the engine between and inside them, a sink ends with the answer of one batch run
// over the same rows.
//
// A Script is a query over memory sources with the rows it gets and the accidents that befall it, in order.
// Play runs it on the real engine, planner, log, checkpoint and DuckDB over a disk in memory, and says what
// the sink holds, in which batch each row was read and which rows were late. YAML writes a Script as a case
// that tidemill test runs. Chaos does both at random over a user's own query and rows, and compares with
// the batch plan. The tests of the package draw whole schemas, rows and queries at random and compare with
// a plain DuckDB that knows nothing of us.
package difftest
