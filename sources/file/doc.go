// Package file is a source of files: newline-delimited or plain JSON, CSV, text, Arrow IPC (each also as .gz)
// and Parquet.
//
// Files are units. A file must appear whole: write it under a name that begins with "." or "_" or ends in
// ".tmp", and rename it. It must not change afterwards: a file is known by its path, and what is put under a
// path that has been seen, or appended to it, is not read. Batches are cut between files, by
// max_files_per_batch and max_bytes_per_batch (32 MiB unless set), so a batch holds the rows of at least one whole
// file in memory. The bytes are handed over in pieces while they are read (stream.Pieces), a chunk of lines of ndjson or
// a file of another format at a time, and read again where a dead letter needs them. No file may be larger than 2 GiB,
// nor may the files of a batch be that a dead letter is cut from.
//
// Once a batch has taken a file, nobody needs the input any more: the spool keeps it until a state version
// holds its rows, see spool.go. A file that is gone or another before a batch has taken it is DATA_LOSS.
//
// A .gz file that is cut short gives its whole lines, and what follows them becomes a broken payload; of one
// that is damaged otherwise nothing is used.
//
// # Seen-file log
//
// Every file gets an ordinal, from 1, in the order of (modification time, path) within each look at the
// folder. The offset is the last ordinal read. The ordinals are kept in seen.log in the source's directory:
//
//	crc32c(json) as 8 hex digits, space, json, newline
//
// The first line names the log's identity and the ordinal before its first file. Each further line is one
// step that is durable as a whole or not at all: files that were found, or the checksums of files read or
// copied for the first time. A file's line is synced before Available names its ordinal, its checksum before
// Read returns its rows; so whatever the engine logs refers to files that this log knows, and a second read that
// differs is noticed.
//
// After a crash the last line may be torn: it is cut off, and nobody has seen what it said. A bad line before
// the last one is damage and stops the query. The log is rewritten (seen.log.tmp, sync, rename, sync of the
// directory) when most of its lines are about files that are acknowledged and no longer there.
package file
