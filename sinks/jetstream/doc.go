// Package jetstream writes results to a NATS JetStream stream, each batch exactly once relative to what the
// server keeps. A server on its own that does not sync each write and loses power in the middle of a step may keep rows of it
// without their marker, and gets them again.
//
// # Protocol
//
// One message in the stream, on the subject <prefix>._c.<query>.<sink>, is the sink's marker: JSON with the
// query's uuid, the epoch, the last batch, the CRC of its Intent, and how many of its messages are there. A
// batch is one step, an atomic batch of the server (2.12 or later, a stream with allow_atomic): up to 999 messages, or as
// many as the server takes less one, then the new marker, whose arrival makes all of them visible. The marker carries
// Nats-Expected-Last-Subject-Sequence, the sequence of the marker before it; so the batch and its marker become visible
// together, and only if nobody has written a marker since we looked. Versions before this one wrote the marker first; it
// says itself what follows it.
//
//	Open   read the marker at the leader (STREAM.MSG.GET last_by_subj), Owner.Accept, and write it again under the
//	       new epoch and life with that compare-and-set. From then on another owner's next batch fails: SINK_FENCED.
//	Write  encode, send, commit. The stored marker that matches already means: nothing to do.
//
// A Write that fails its compare-and-set reads the marker back. One of this very life is our own earlier attempt; any
// other, of whatever epoch (two copies of a data dir count epochs each by itself), is another owner's: SINK_FENCED.
//
// What a crash or a broken connection leaves, by where it happens:
//
//	before the step's marker    the server forgets its messages after 10 s; nothing is visible
//	after it, no answer         unknown: the marker is read back. Ours: done. The one before: send again; if the
//	                            first attempt lands after all, the second fails its compare-and-set, and the marker,
//	                            read once more, is ours
//	after the answer            the marker is ours: the next Write of the batch does nothing
//
// A batch that is one message goes out as that one message, which carries the marker in a header and is stored only
// directly behind what this sink wrote last; single.go has the protocol. It takes a tenth of a millisecond instead of
// the ten that an atomic batch costs.
//
// A batch of more messages than a step takes (or 32 MiB) is first staged durably (stream.Stager), then written in several
// steps, whose markers say how many messages are done. After a crash the staged bytes go on at exactly that message, whatever
// the query would compute now. Readers see the batch grow step by step.
//
// # What is sent ahead
//
// Messages of a step are sent before their time: those of the first one while the rest of the batch is encoded and staged,
// those of each other one while the server commits the step before it. The server lays them aside. The marker, which commits
// them, is sent only when all of the batch is encoded and, if it needs more than one step, durable, and when the server has
// said at which sequence it stored the marker before it. So
//
//   - a marker never expects a sequence that was guessed: guessed ones could be those of another owner's marker. What it
//     expects is where a marker of this very life lies;
//   - no step is stored without those before it, whatever is lost, refused or late. If a step fails, what was sent ahead of it
//     is forgotten, here at once and in the server after 10 s, and it is sent again as another batch of the server;
//   - a crash at any moment leaves a whole number of steps, and the last marker says how many. It is the same as without
//     sending ahead, because messages without their marker are nothing to the server.
//
// Without atomic batches (an older server, a stream without allow_atomic) every batch is staged, and each
// message carries its place in the batch (header Tidemill-Pos), a message id, and
// Nats-Expected-Last-Sequence, so that it is stored only directly behind its predecessor; the marker comes
// last. Before the first message of a batch the marker is looked at if anything lies behind it, so that an owner which was
// fenced sends none. After a crash the tail of the stream says which message was the last. That is exact too, but slower,
// needs a stream that nobody else writes to, and lets readers see half a batch; the sink says so in the log.
//
// In update mode each key has a subject of its own. A row is a JSON object; a deleted key is a message
// without a payload and with the header Tidemill-Op: delete. With payload ndjson the changes of many keys are lines of
// one message instead, which costs a small batch a tenth of a millisecond where a message for each key costs it ten;
// where rows can go away each line says "__op":"upsert" or "__op":"delete", the latter with null in every
// column but the key.
//
// Markers have the header Tidemill-Marker; the jetstream source leaves them out. A stream whose limits drop
// the marker (max_age, max_msgs, max_bytes) makes a later Open fail with SINK_MISMATCH, and a warning says so
// beforehand.
package jetstream
