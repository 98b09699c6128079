// Package compression compresses payloads and restores them: LZ4 frames, Zstandard frames and gzip, as the programs lz4,
// zstd and gzip write and read them too. A payload says by its first bytes which of them it is, so compressed and plain
// payloads may come mixed. None of these beginnings can be that of JSON, CSV or an Arrow IPC stream.
//
// Hostile payloads give errors, never a panic, and no more memory than a small multiple of what the caller
// allows them to hold.
package compression
