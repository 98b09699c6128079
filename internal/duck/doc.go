// Package duck is the one door to DuckDB. No other package imports the driver, so the traps of the pinned
// driver (architecture.md, "Traps") are shut in one place, and the tests beside this file keep them shut.
//
// What it promises:
//
//   - Arrow goes in by Import: the view that DuckDB makes of a record stream is read exactly once, whole,
//     in order, and is dropped before its memory is given back. Nothing is left behind, however many
//     batches pass.
//   - Arrow goes in without a table by a Feed: a standing view over the records of the moment, which one
//     statement reads, once, whole and in order; a second reader gets an error.
//   - Arrow comes out by Select, or by Query where the columns are known: it can be cancelled, every record
//     is drained, the records are the caller's own copy, and each column has the type that ArrowType names.
//   - Statements can be cancelled within milliseconds and leave the connection usable.
//   - Every error of DuckDB comes back as an *Error with its kind and, where DuckDB says it, the position
//     in the statement. A cancelled context comes back as the context's error.
//   - A sealed database reaches neither files nor network, and its settings are locked.
//
// What it does not do: it does not judge statements. A sealed database still runs CREATE TABLE or PRAGMA
// enable_profiling; the caller admits user text only after Parse and its own allow-list.
//
// Row order: the order of the rows given to Import is the insertion order of the table, and a SELECT
// without ORDER BY over one table keeps it (preserve_insertion_order stays on).
package duck
