// Package file is a source of files: newline-delimited or plain JSON, CSV, text, Arrow IPC (each also as .gz)
// and Parquet.
//
// Files are units. A file must appear whole: write it under a name that begins with "." or "_" or ends in
// ".tmp", and rename it. It must not change afterwards: a file is known by its path, and what is appended to
// a file that has been seen is not read but refused as DATA_LOSS. Batches are cut between files, by
// max_files_per_batch and max_bytes_per_batch, so a batch holds at least one whole file in memory, and none
// may be larger than 2 GiB.
//
// # Seen-file log
//
// Every file gets an ordinal, from 1, in the order of (modification time, path) within each look at the
// folder. The offset is the last ordinal read. The ordinals are kept in seen.log in the source's directory:
//
//	crc32c(json) as 8 hex digits, space, json, newline
//
// The first line names the log's identity and the ordinal before its first file. Each further line is one
// step that is durable as a whole or not at all: files that were found, or the checksums of files read for
// the first time. A file's line is synced before Available names its ordinal, its checksum before Read
// returns its rows; so whatever the engine logs refers to files that this log knows, and a second read that
// differs is noticed.
//
// After a crash the last line may be torn: it is cut off, and nobody has seen what it said. A bad line before
// the last one is damage and stops the query. The log is rewritten (seen.log.tmp, sync, rename, sync of the
// directory) when most of its lines are about files that are acknowledged and no longer there.
package file
