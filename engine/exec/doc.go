// Package exec runs a plan in DuckDB: one transaction per batch takes the new rows of every source, moves the
// state, and gives the result, the counts of what became of each row, and the rows that were too late.
//
// Rows carry a position, batch << 31 | ordinal, in the hidden column __pos. Ordinals number the batch's rows
// through all sources in the order of the plan, so that a position names one raw row and orders all of them.
//
// A plan that keeps nothing and reads lent rows alone computes many of them in parts at the same time, each on a connection
// of its own: their results, one behind the other, are what the whole would have given.
//
// Faults of rows (a conversion, an overflow) fail Run with a *duck.Error that says so. Nothing of the state has moved
// then: the caller bisects with Try, which runs the batch over some of the rows and takes everything back, and runs it
// again with the poison rows in Call.Excluded. Isolating rows by TRY() would be quicker but DuckDB 1.1 has none for
// arbitrary expressions.
package exec
