package jetstream

import "bytes"

// ack is what the reply subject of a delivered message says of it.
type ack struct {
	sequence  uint64
	delivery  uint64 // counts what the consumer delivered
	published int64  // nanoseconds since 1970
	pending   uint64
}

// parseAck reads $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>, or
// the longer form with domain and account hash before the stream. It returns false for anything else.
func parseAck(reply []byte) (a ack, ok bool) {
	if !bytes.HasPrefix(reply, []byte("$JS.ACK.")) {
		return a, false
	}
	switch bytes.Count(reply, []byte{'.'}) {
	case 8, 10:
	case 11: // what follows the numbers makes the subject unique
		reply = reply[:bytes.LastIndexByte(reply, '.')]
	default:
		return a, false
	}
	var published uint64
	for _, number := range [...]*uint64{&a.pending, &published, &a.delivery, &a.sequence} {
		dot := bytes.LastIndexByte(reply, '.')
		if *number, ok = parseDigits(reply[dot+1:]); !ok {
			return ack{}, false
		}
		reply = reply[:dot]
	}
	if published > 1<<63-1 {
		return ack{}, false
	}
	a.published = int64(published)
	return a, true
}

func parseDigits(s []byte) (uint64, bool) {
	if len(s) == 0 || len(s) > 19 {
		return 0, false
	}
	var v uint64
	for i := range s {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + uint64(d)
	}
	return v, true
}
