// Package keyed keeps rows with a unique key in memory, for operators that read and write a few keys of many
// in every batch: the cost of a batch follows the rows of the batch, never those of the store. It knows
// batches that roll back exactly, rows that expire by a time, and what changed since the last state version.
// It writes nothing to disk but what memory has no room for, and knows nothing of SQL: the engine asks for the rows of
// its keys, computes, and puts them back. Positions is another thing: it says where rows lie that somebody else keeps.
//
// Keys are equal as in DuckDB's IS NOT DISTINCT FROM: NULL equals NULL, NaN equals NaN, -0.0 equals 0.0, one
// month equals 30 days equals 720 hours (DuckDB carries no further: 29 days are not 30 days less 24 hours),
// and lists, structs and maps compare part by part. What a key looks like is not lost: a row shows the key
// that was put last. Types are those that the engine exchanges with DuckDB.
//
// # Rows
//
// A row is a run of bytes. Rows of a store have one width; they lie in chunks of 8,192, and a row's number
// says where. Free rows of a chunk are a list through their own bytes; a chunk without rows gives its memory
// back.
//
//	┌───────┬────────────┬──────────────┬────────────┬────────┬────────────┬───────────────────┐
//	│ flags │ NULL bits  │ key columns  │ NULL bits  │ values │ blob       │ previous and next │
//	│ 1 B   │ of the key │ (normalised) │ of values  │        │ 4 B        │ row of the time   │
//	└───────┴────────────┴──────────────┴────────────┴────────┴────────────┴───────────────────┘
//	         └──── compares at once ───┘                        if there is  8 B, if there is
//
// Fixed values have the bytes of Arrow. Keys are normalised: equal keys have equal bytes. For FLOAT, DOUBLE,
// INTERVAL and what contains them, the key as it was put is one more value column. Texts and nested values of
// a row are one blob, keys first:
//
//	row 4 B │ length 4 B │ end of the key 4 B, if keys and values are here │ keys │ values │ up to 8 B
//
// Blobs fill pages of 1 MiB (a blob of more than 256 KiB has its own). A new value is a new blob. When more
// than half of all blobs is dead, Commit empties the page with most dead bytes, and again until no more than
// half is.
//
// # Finding a key
//
// The first byte of a hash (seeded per process, never kept) chooses one of 256 open-addressing tables. A cell
// is 32 bits of the hash and the row's number; a table doubles at 13/16 and halves below 1/8, so that growing
// never stops the store: of 10 million keys one table moves 40,000 cells. Removing closes the gap, so there
// are no marks of what was. Chunks, pages and tables come from Options.Memory, outside Go's heap and beyond a share in
// files; loops over rows call pace, which bounds what is mapped of those. Before each 64 rows of a batch, short loops
// read what these will need, so that cache misses of different rows overlap. Of rows of a base that are filled in after
// a restart only the cell is noted, by table; before the next batch, or after four million rows, each table is made in
// one go, while it is in the cache, some on each core.
//
// # Time
//
// The rows of one time are a doubly linked list; a heap holds the distinct times. Expire costs what it
// returns. Expired rows come in the order of time, then key, whatever the store has been through.
//
// # Batches and changes
//
// The first touch of a row in a batch copies it to the undo log. Deleting only clears the flag of life: the
// row and its cell remain until Commit, blobs that were replaced until then, too. Rollback copies rows back,
// in reverse, and gives up rows and blobs that the batch made; the store is then as it was, down to the order
// of its free rows. From the first Freeze on, a bitmap has the rows that changed since the last one. Deleted rows
// that were there at the last Freeze remain as their own memorial until the next has handed their keys over; rows that
// came and went in between leave no trace. If there are far more changes than rows, they are forgotten, and the next
// state version must be a base.
//
// # State versions
//
// Freeze takes the bitmap (of a base, one of all rows) and begins an empty one, so that it costs batches next to
// nothing. Another goroutine hands the rows over, 8,192 at a time under the lock that every call of a batch takes. A
// batch that is about to change a row which has not been handed over copies it first. The reader gives way: while a
// batch is open, it rests three times as long as it worked, but no longer than 20 ms at a time. Then it is let in between
// two rows of whatever call has the lock, every 64 rows.
//
// No order that a caller sees depends on the hash.
package keyed
