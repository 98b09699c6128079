// Package state keeps versions of one query's operator tables on disk, and immutable copies of its reference
// tables. It knows tables, records and batch numbers; it knows nothing of the log, of sources or of SQL.
//
// A version is a manifest that names, for every table, one base file and the delta files laid over it, in
// order. Versions share files: a new version of a large table costs its changed rows only.
//
//	state/
//	  00000000000000000117.json          manifest of the version after batch 117
//	  00000000000000000131.json          manifest of the version after batch 131
//	  00000000000000000117-00000.arrow   part files: <batch that wrote it>-<number>
//	  00000000000000000131-00000.arrow
//	tables/
//	  rates-9f86d081884c7d65….arrow      a copy, named by the SHA-256 of its rows as an Arrow IPC stream
//
// A part file, and a copy (which has put rows only):
//
//	+-----------------------------+  0
//	| put rows: Arrow IPC stream  |  P bytes, 0 if there are none
//	+-----------------------------+  P
//	| deleted keys: IPC stream    |  D bytes, 0 if there are none
//	+-----------------------------+  P+D
//	| CRC32C of each 64 KiB block |  u32 little endian, one per block of the P+D bytes
//	+-----------------------------+
//	| trailer, 40 bytes           |  "TMSTATE1" | batch u64 | P u64 | D u64 | flags u32 | crc u32
//	+-----------------------------+  crc: CRC32C over the block checksums and the trailer before it
//
// Any Arrow reader opens a part file as it is and sees its put rows. Manifests are JSON with their own
// CRC32C.
//
// # What is durable
//
// Write syncs every part file, then the directory, then the manifest, which appears by rename, then the
// directory again. So a version exists exactly if its manifest does, and then all it names is there. Prune
// goes the other way: manifests first, a directory sync, then the files no manifest names.
//
//	crash while                   found at Open                           done
//	part files are written        parts without a manifest                removed
//	the manifest is written       parts, perhaps <batch>.json.tmp         removed
//	the manifest is being named   the whole version, or the line above    kept, or removed
//	Prune removes manifests       some manifests fewer, files left over   files removed
//
// Damage is told from a crash by the checksums: a file that a manifest names must be there, whole and
// unchanged, or Load and Open answer STATE_CORRUPT with the file and the byte, and change nothing on disk.
package state
