// Package flatparquet reads columns of Parquet files that are neither nested nor of a rare kind straight into the memory of
// their Arrow array: a value is written once, where it stays. Arrow's own reader, which takes the others, has it written
// into a builder and out of it, and reads a level for every value.
//
// Footers, page headers and compression are the business of Arrow's library. Here are the pages' contents: definition levels
// of columns that are not repeated, PLAIN values, and values by their numbers in a dictionary. Whatever else a column has,
// it gives ErrUnfit, and the caller turns to Arrow's reader.
//
// A damaged file gives an error, or other values where it can not be told from a good one. It may panic in the library, so
// that callers recover; it does not hang, since every step takes values that the footer promised or bytes of the page.
package flatparquet
