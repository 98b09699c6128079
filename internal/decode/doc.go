// Package decode turns undecoded payloads into Arrow columns of the declared types: JSON (one object or an
// array of objects a message), newline-delimited JSON, CSV, Arrow IPC streams and raw text.
//
// It is strict where DuckDB's own readers are lax, because a value that changes without a word is worse than
// a row that is set aside: a field is absent or null (NULL), right, or wrong, and a row with a wrong field is
// a Fault that names the column and shows the value. Nothing is rounded, nothing is parsed out of a string
// that should have been a number, and times must be ones that DuckDB can hold.
//
// How a row is built: every column is a node whose value number i is set exactly once per row, by value or as
// NULL. Offsets of strings and lists start where the value before ended, so a row that fails half way needs
// no clean-up: the next row is simply written over it. The scanner works on the payload in place, keeps the
// order of keys that it saw in the last object and compares bytes before it looks anything up, and allocates
// nothing per row.
//
// Hostile input gives faults, never a panic: nesting is limited, lengths are checked before they are used,
// and the memory used is bounded by a small multiple of the payload (plus the fixed width of the rows found). A payload that
// is compressed is decompressed by itself, and is one fault if it can not be, if it has more than 64 MiB then, or if those of one
// Result have more than 1,920 MiB together.
package decode
