package jetstream

// ack is what the reply subject of a delivered message says of it.
type ack struct {
	sequence  uint64
	delivery  uint64 // counts what the consumer delivered
	published int64  // nanoseconds since 1970
	pending   uint64
}

// parseAck reads $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>, or
// the longer form with domain and account hash before the stream. It returns false for anything else.
func parseAck(reply []byte) (ack, bool) {
	const prefix = "$JS.ACK."
	if len(reply) <= len(prefix) || string(reply[:len(prefix)]) != prefix {
		return ack{}, false
	}
	var starts [13]int
	tokens := 0
	for i := range len(reply) {
		if i == 0 || reply[i-1] == '.' {
			if tokens == len(starts)-1 {
				return ack{}, false
			}
			starts[tokens] = i
			tokens++
		}
	}
	starts[tokens] = len(reply) + 1
	first := 5
	if tokens >= 11 {
		first = 7
	} else if tokens != 9 {
		return ack{}, false
	}
	token := func(n int) (uint64, bool) { return parseDigits(reply[starts[n] : starts[n+1]-1]) }
	sequence, ok1 := token(first)
	delivery, ok4 := token(first + 1)
	published, ok2 := token(first + 2)
	pending, ok3 := token(first + 3)
	if !ok1 || !ok2 || !ok3 || !ok4 || published > 1<<63-1 {
		return ack{}, false
	}
	return ack{sequence: sequence, delivery: delivery, published: int64(published), pending: pending}, true
}

func parseDigits(s []byte) (uint64, bool) {
	if len(s) == 0 || len(s) > 19 {
		return 0, false
	}
	var v uint64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + uint64(d)
	}
	return v, true
}
