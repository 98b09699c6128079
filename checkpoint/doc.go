// Package checkpoint gives the log's entries and the state versions their meaning: how far a query has come,
// and what must run again, exactly as it ran, when its owner comes back. It orders the writes of one query's
// directory; the engine decides when. It knows nothing of plans, and of offsets and records only that they
// are to be kept.
//
//	<data-dir>/<query>/
//	  LOCK        flock of the owner: one process per directory
//	  meta.json   which query this is: uuid, SQL, plan, layout, start offsets and identities; sealed
//	  log/        wal segments with the entries below
//	  state/      state versions; see package state
//	  tables/     immutable copies of reference tables
//	  staged/     <batch>-<sink>.bin: results of the running batch that a sink takes in several steps
//	  spill/      what DuckDB and keyed state have no memory for; emptied at Open
//
// Entries, one frame per line (wal gives each frame one CRC and the caller one sync):
//
//	Open(epoch, lives)                      a life of an owner begins           synced
//	[Commit(b-1)] Intent(b)                 one fdatasync per batch             synced
//	[Exclude(b)] [Staged(b, sink)]          only poison batches, some sinks     synced
//	Commit(b)                               alone when nothing follows          synced by Flush
//	Snapshot(v)                             state version v is complete         with the next sync
//	Close                                   a clean stop                        synced
//
// A segment begins with copies of the entries that recovery wants of older ones: Open, the last Intent,
// Exclude and Commit, the pending Intent with its Exclude and Staged, the last Snapshot. So an entry may be
// read twice.
//
// # Crash story
//
//	crash after                      found at Open                         what happens
//	part of a creation               no meta.json, at most an Open entry   removed, begun anew
//	Intent(b) returned               Pending = Intent(b)                   b runs, exactly so
//	some sinks written               Pending = Intent(b)                   b runs again, sinks know its marker
//	Stage returned                   Staged entry and file                 the sink resends those very bytes
//	Commit(b) buffered               Pending = Intent(b)                   b runs again, sinks do nothing
//	Flush, or Intent(b+1)            Last = Commit(b)                      staged files of b are removed
//	state files of v written         files without a manifest              removed; the version before counts
//	the manifest of v is there       Version = v                           batches v+1 … Last are in Rerun
//	the version before was pruned    Version = v                           the same
//	a new segment is named           its entries twice                     read once
//	old segments are removed         batches from a later one on           none that any version needs
//
// A version's manifest is published only after the Commit of its batch is durable; a version that is newer
// than the log's last Commit therefore means that the log lost its end, and is refused. Damage (LOG_CORRUPT,
// STATE_CORRUPT, CHECKPOINT_UNUSABLE) changes nothing on disk. What package wal can not tell from a torn
// write, the loss of the log's very end, is found by the state version that is then too new, or by the sinks'
// markers (SINK_MISMATCH).
package checkpoint
