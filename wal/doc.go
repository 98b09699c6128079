// Package wal keeps a log of records in segment files, such that what Sync has acknowledged is there after
// any crash, whole and in order, or Open says that it is damaged. It knows bytes, sequence numbers and
// checksums; what an entry means is its caller's business.
//
// # On disk
//
// A log is a directory of segments. Numbers are little endian, checksums CRC32C, every frame starts at a
// multiple of 8 bytes. The formats never change; a new one gets a new number in the header.
//
//	wal-<first frame, 16 hex digits>.log       wal-….log.torn  tail that Open cut off     *.tmp  garbage
//
//	segment  ┌──────────────┬─────────┬─────────┬─ … ─┐
//	         │ header 64 B  │ frame   │ frame   │     │
//	         └──────────────┴─────────┴─────────┴─ … ─┘
//
//	header    0  magic "TMWAL\x00\x00\x01"        32  u64 number of the segment, from 1
//	          8  u16 format                       40  u64 number of its first frame
//	         10  u16 oldest reader that can       48  u32 chain: head CRC of the last frame before it
//	         12  u32 flags, 0                     52  u32 CRC of bytes 0-51
//	         16  id of the log, 16 bytes          56  zero
//
//	frame     0  u32 length of the body           24  u32 chain: head CRC of the frame before
//	          4  u32 head CRC: of the log's id    28  u32 CRC of the body
//	             and of all else in this head     32  u16 0x4601, u16 flags, u32 number of entries
//	          8  u64 number of the frame, from 1  40  body: entries, then zeros up to a multiple of 8
//	         16  u64 durable: when this frame was written, every frame up to this one had been synced
//
//	entry     0  u8 type, 3 zero bytes, u32 length of the payload, i64 batch, payload
//
// The head CRC covers the body's, so the whole frame stands under one checksum; that the head can be checked
// alone lets Open trust its length and find later frames without reading bodies. A frame without entries is a
// mark: Close writes one, so that after a clean stop even the last entry stands before a frame that says it
// was durable.
//
// # Crashes
//
// Append writes a frame in one call behind all others. Sync makes it durable and only then may the caller act
// on it. Every frame says how far the log was durable when it was written, and a new segment is made only
// when all before it is durable. So when Open finds a frame that is not whole:
//
//   - in any segment but the last, it had been acknowledged: damage.
//   - a later frame says that it was durable: damage.
//   - it does not look like a write that a crash cut off: damage. A file system writes the end of a file from
//     its front and in sectors; what did not arrive is missing or zero. A whole frame without a sector of
//     zeros that fails its checksum was changed after it was written.
//   - else it was never acknowledged: Open copies the tail to a .torn file and cuts it off.
//
// Damage is a *CorruptError with file and byte, and nothing on disk is changed.
//
// What Open reports may have been in the page cache only: the process died before Sync, or Sync failed and
// the kernel has marked the pages clean. Unless a later frame says that it was durable, Open writes the last
// segment anew, syncs it and renames it into place before it returns. It also syncs the directory, since the
// last rename may not have arrived. A failed write or sync is never tried again: the Log returns that error
// from then on, and the next Open finds out what is there.
//
// # What is not protected
//
// If what comes last is acknowledged, and later the medium loses its end or a whole sector of it to zeros,
// that looks like a write that was never finished, and is cut. After a clean stop this needs the mark to be
// lost too. A loss of the file's end at a frame's edge, or of the newest segment, is not seen at all. The
// layers above compare sinks' markers with the log and stop if it is behind. A single flipped bit is always
// seen, and refused, if no payload has zeros over a whole sector or eight zeros at its end.
package wal
