// Package jetstream reads a NATS JetStream stream. An offset is a stream sequence in decimal: everything up
// to and including it has been read. The server holds no position that counts: one long-lived ephemeral consumer without
// acknowledgements runs ahead of the engine into a bounded buffer, and whenever its word is in doubt (a gap,
// a reconnect, a restart of the server) it is thrown away and made again at the first sequence that is
// missing.
//
// What is promised, and how:
//
//   - The same range gives the same rows. On unfiltered reads every sequence of a range must arrive; one
//     that does
//     not is looked for at the stream's leader, and if it is gone there the read fails with DATA_LOSS and
//     names it,
//     or counts it under on_data_loss = 'skip'.
//   - Filtered reads (option subject) can not be checked that way. A filtered range is at its end when a
//     message
//     past it has come, or when the leader says that no message up to its end matches: never because time
//     has passed.
//   - A stream that was deleted and made again has another creation time, which is its identity:
//     SOURCE_REPLACED.
//     A stream whose last sequence lies before a position that was read has lost its tail: DATA_LOSS.
//   - Streams that drop messages by themselves one by one (limits per subject, TTLs, rollups) have gaps by
//     design.
//     Those are not losses, and what a range gave is spooled to disk before it is used, so that it reads the
//     same
//     again.
//   - Streams with work-queue or interest retention forget what was acknowledged. They are read through a durable
//     consumer of the query's own, spooled in the same way, and acknowledged only up to the newest durable state
//     version; queue.go says how.
package jetstream
